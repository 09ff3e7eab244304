"""From the outbox to the targets: a few threads, a pace for each target, attempts until it is taken.

At most `alerts.senders` messages are on their way at a time, and each is settled in the outbox before its
sender takes another one: that is how many can come twice when the process is killed. Targets take turns, and
one that fails is left alone for longer and longer, so that it holds the others up for one attempt only.
"""

from __future__ import annotations

import math
import random
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.outcome import Accepted, Outcome, Refused, Target, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fraudengine.alerts.metrics import Metrics
    from fraudengine.alerts.outbox import Outbox
    from fraudengine.alerts.tables import Waiting
    from fraudengine.log_lines import LineLogger
    from fraudengine.settings_alerts import AlertsSettings

__all__ = ["Lane", "Senders", "pause_seconds"]

_FIRST_PAUSE_SECONDS = 1.0
_IDLE_SECONDS = 0.1
_JITTER_MIN = 0.5


def pause_seconds(failures: int, seconds_max: float, jitter: float) -> float:
    """Return how long to wait after so many failures in a row, at least 1: doubled each time, and bounded.

    Parameters
    ----------
    failures
        In a row.
    seconds_max
        The bound.
    jitter
        0.5 to 1: several services that fail together do not come back together.

    """
    doubled: float = _FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 32)
    return min(doubled, seconds_max) * jitter


@dataclass(slots=True)
class Lane:
    """One target and when it is its turn, by the monotonic clock."""

    name: str
    target: Target
    interval_seconds: float
    ready: float = 0.0
    busy: bool = False
    failures: int = 0
    served: float = 0.0


class Senders:
    """The threads. They begin when started and end when stopped; a message on its way is settled first.

    Parameters
    ----------
    settings
        The section `[alerts]`.
    targets
        By name.
    outbox
        Where messages are.
    metrics, log
        What is counted and told.

    """

    def __init__(
        self,
        settings: AlertsSettings,
        targets: Mapping[str, Target],
        outbox: Outbox,
        metrics: Metrics,
        log: LineLogger,
    ) -> None:
        self._retry_seconds_max = settings.retry_seconds_max
        self._outbox = outbox
        self._metrics = metrics
        self._log = log
        self._lanes = [
            Lane(name, target, 60.0 / settings.targets[name].messages_per_minute)
            for name, target in targets.items()
        ]
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"alerts-sender-{number}", daemon=True)
            for number in range(settings.senders)
        ]
        self.error: str | None = None
        """Why one of them has ended."""

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End when what is on its way is settled."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def wake(self) -> None:
        """Look whether there is something to send."""
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                lane, waiting = taken
                began = time.monotonic()
                outcome = _sent(lane.target, waiting)
                self._metrics.seconds.labels(lane.name).observe(time.monotonic() - began)
                self._settle(lane, waiting, outcome)
        except Exception as error:  # a thread that died unseen would look like a quiet outbox
            self.error = f"unexpected {type(error).__name__}: {error}"
            self._log.told("error", {"message": "the alert service ends", "error": self.error})
            raise

    def _take(self) -> tuple[Lane, Waiting] | None:
        """Wait for a message that may be sent now; `None`: it is time to end."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                ready = [lane for lane in self._lanes if not lane.busy and lane.ready <= now]
                for lane in sorted(ready, key=lambda lane: lane.served):
                    try:
                        waiting = self._outbox.next_for(lane.name, int(time.time() * 1e3))
                    except sqlite3.Error as error:
                        self._log.told("error", {"message": "the outbox cannot be read", "error": str(error)})
                        break
                    if waiting is not None:
                        lane.busy, lane.served = True, now
                        return lane, waiting
                soon = min((lane.ready for lane in self._lanes if now < lane.ready), default=math.inf)
                self._changed.wait(min(_IDLE_SECONDS, soon - now))
        return None

    def _settle(self, lane: Lane, waiting: Waiting, outcome: Outcome) -> None:
        """Write down what came of it; until that is done, nothing else is sent by this thread."""
        jitter = random.uniform(_JITTER_MIN, 1.0)
        pause = lane.interval_seconds
        if isinstance(outcome, Trouble):
            asked = outcome.retry_seconds or 0.0
            lane.failures += 1
            pause = max(pause, asked, pause_seconds(lane.failures, self._retry_seconds_max, jitter))
            own = max(pause, pause_seconds(waiting.attempts + 1, self._retry_seconds_max, jitter))
        else:
            lane.failures, own = 0, 0.0
        while True:
            try:
                self._write(waiting, outcome, own)
                break
            except sqlite3.Error as error:
                self._log.told("error", {"message": "the outbox cannot be written", "error": str(error)})
                with self._changed:
                    if self._stopping:
                        break
                    self._changed.wait(_FIRST_PAUSE_SECONDS)
        self._tell(lane, waiting, outcome)
        with self._changed:
            lane.ready, lane.busy = time.monotonic() + pause, False
            self._changed.notify_all()

    def _write(self, waiting: Waiting, outcome: Outcome, own_seconds: float) -> None:
        now_ms = int(time.time() * 1e3)
        if isinstance(outcome, Accepted):
            self._outbox.accepted(waiting, now_ms)
        elif isinstance(outcome, Refused):
            self._metrics.discarded.inc(self._outbox.refused(waiting, now_ms, outcome.reason))
        else:
            self._outbox.put_off(waiting, now_ms + int(own_seconds * 1e3), outcome.reason)

    def _tell(self, lane: Lane, waiting: Waiting, outcome: Outcome) -> None:
        message = waiting.message
        told = {
            "to": lane.name,
            "id": message.id,
            "number": message.number,
            "alerts": message.rollup.alerts,
        }
        if isinstance(outcome, Accepted):
            self._metrics.sent.labels(lane.name).inc()
            self._log.told("info", {"message": "sent", **told, "attempts": waiting.attempts + 1})
            return
        refused = isinstance(outcome, Refused)
        self._metrics.failures.labels(lane.name, "refused" if refused else "trouble").inc()
        what = "refused, see `fraudengine alerts failed`" if refused else "not sent, tried again"
        self._log.told("error" if refused else "warn", {"message": what, **told, "error": outcome.reason})


def _sent(target: Target, waiting: Waiting) -> Outcome:
    try:
        return target.send(waiting.message)
    except Exception as error:  # whatever a library raises, the message is kept and the thread goes on
        return Trouble(f"unexpected {type(error).__name__}")
