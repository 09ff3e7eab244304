"""From the topic into groups: one thread that reads, routes, and moves on with what it has added, at once.

A broker that is away is waited for. What expired while the service was down is counted and told, and reading
goes on; a log that ends before our place is another log, which ends the service: somebody must decide.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from fraudengine.alerts.records import GenerationRule, read
from fraudengine.alerts.rollup import Rollup
from fraudengine.alerts.tables import Key, Place
from fraudengine.alerts.topic import AlertTopic, OutOfRangeError, ends
from fraudengine.errors import AlertError, ServiceError
from fraudengine.services.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

    from fraudengine.alerts.metrics import Metrics
    from fraudengine.alerts.outbox import Outbox
    from fraudengine.alerts.routing import Router
    from fraudengine.config import Settings
    from fraudengine.log_lines import LineLogger

__all__ = ["Intake"]

RECORDS_MAX = 5_000
"""Most records of one transaction of the outbox."""
_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 1.0


class Intake:
    """The thread. It begins when started and ends when stopped, or with an error that somebody must mend.

    Parameters
    ----------
    settings
        Effective settings, addresses filled in.
    outbox
        Where alerts go.
    router
        Says where to.
    metrics, log
        What is counted and told.
    arrived
        Called when there may be something to send.

    """

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        router: Router,
        metrics: Metrics,
        log: LineLogger,
        arrived: Callable[[], None],
    ) -> None:
        self._kafka = settings.kafka
        self._start = settings.alerts.start
        self._currency = settings.engine.reference_currency
        self._outbox = outbox
        self._router = router
        self._metrics = metrics
        self._log = log
        self._arrived = arrived
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts-intake", daemon=True)
        self._place: Place | None = None
        self.reading = False
        """Whether the broker answers and the topic is read."""
        self.error: str | None = None
        """Why it has ended."""

    @property
    def next_offset(self) -> int | None:
        """Offset of the first record not taken in; `None`: not known yet."""
        return None if self._place is None else self._place.next_offset

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, ServiceError, sqlite3.Error) as error:
                self._log.told("warn", {"message": "the alerts cannot be read now", "error": _told(error)})
                self._stopping.wait(_PAUSE_SECONDS)
            except AlertError as error:
                self._end(str(error))
                return
            except Exception as error:  # a thread that died unseen would look like a quiet topic
                self._end(f"unexpected {type(error).__name__}: {error}")
                raise
            finally:
                self.reading = False

    def _end(self, error: str) -> None:
        self.error = error
        self._log.told("error", {"message": "the alert service ends", "error": error})

    def _follow(self) -> None:
        place = self._place or self._outbox.place(self._kafka.alerts_topic) or self._first_place()
        self._place = place
        try:
            topic = AlertTopic(self._kafka, place.next_offset)
        except OutOfRangeError as error:
            self._place = self._skip(error, place)
            return
        try:
            self.reading = True
            while not self._stopping.is_set():
                records = topic.poll(RECORDS_MAX, _POLL_SECONDS)
                self._metrics.lag.set(topic.lag)
                if records:
                    self._take(records)
        finally:
            topic.close()

    def _first_place(self) -> Place:
        """Decide where to begin and write it down: killed before the first alert, it begins there again."""
        create_topics(self._kafka)
        low, high = ends(self._kafka)
        place = Place(low if self._start == "earliest" else high, 0)
        self._outbox.go_to(self._kafka.alerts_topic, place)
        self._log.told("info", {"message": "begins to read alerts", "offset": place.next_offset})
        return place

    def _skip(self, error: OutOfRangeError, place: Place) -> Place:
        if place.next_offset > error.high:
            raise AlertError(
                f"the topic {self._kafka.alerts_topic} ends at {error.high}, and {place.next_offset} of it "
                "were read: it is another topic; give alerts.state_folder another folder to begin anew"
            )
        missed = error.low - place.next_offset
        self._metrics.missed.inc(missed)
        told = {"message": "alerts expired before they were read", "records": missed, "offset": error.low}
        self._log.told("error", told)
        after = Place(error.low, place.generation)
        self._outbox.go_to(self._kafka.alerts_topic, after)
        return after

    def _take(self, records: Iterable[Message]) -> None:
        before, now_ms = self._place, int(time.time() * 1e3)
        if before is None:
            return
        rule, snoozed = GenerationRule(before.generation), self._outbox.snoozed(now_ms)
        routed: dict[tuple[str, str], Rollup] = {}
        next_offset = before.next_offset
        counts = {"taken": 0, "unrouted": 0}

        def ignored(reason: str) -> None:
            counts[reason] = counts.get(reason, 0) + 1

        for record in records:
            offset = record.offset()
            if offset is None or offset < next_offset:
                continue
            next_offset = offset + 1
            alert = read(offset, record.value() or b"", rule, self._currency, ignored)
            if alert is None:
                continue
            ways = self._router.of(alert, snoozed)
            counts["taken"] += 1
            counts["unrouted"] += not ways
            one = Rollup.of(alert)
            for way in ways:
                if (known := routed.get(way)) is None:
                    routed[way] = Rollup.of(alert)
                else:
                    known.add(one)
        arrivals: dict[Key, Rollup] = {
            (target, route, subject): rollup
            for (route, subject), rollup in routed.items()
            for target in self._router.routes[route].targets
        }
        after = Place(next_offset, rule.highest)
        overflowed = self._outbox.take_in(before, after, arrivals, now_ms)
        self._place = after
        self._count(counts, routed, overflowed)
        self._arrived()

    def _count(self, counts: dict[str, int], routed: dict[tuple[str, str], Rollup], overflowed: int) -> None:
        self._metrics.taken.inc(counts.pop("taken"))
        self._metrics.unrouted.inc(counts.pop("unrouted"))
        self._metrics.overflowed.inc(overflowed)
        for reason, count in counts.items():
            self._metrics.ignored.labels(reason).inc(count)
        if unreadable := counts.get("unreadable"):
            self._log.told("error", {"message": "records that are no alerts", "records": unreadable})
        for (route, _), rollup in routed.items():
            self._metrics.routed.labels(route).inc(rollup.alerts)


def _told(error: Exception) -> str:
    if isinstance(error, KafkaException) and error.args:
        reason = error.args[0]
        return str(reason.str() if hasattr(reason, "str") else reason)
    return str(error)
