"""What goes on when the demonstration has been counted: more days of the same world, at a rate that lasts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from fraudengine.datasets.load import LoadTarget, days_needed, start_load
from fraudengine.errors import ServiceError, StreamError

if TYPE_CHECKING:
    from fraudengine.config import Settings
    from fraudengine.demo.parts import Parts
    from fraudengine.demo.prepare import DemoOptions
    from fraudengine.services import Stack
    from fraudengine.streaming import StreamProcess

__all__ = ["TPS", "Steady", "SteadyFigures", "messages_in"]

TPS: Final = 200.0
"""Transactions a second: lively, and light enough for a laptop."""
_TICK_SECONDS: Final = 0.5
_RATE_SECONDS: Final = 5.0
_FLUSH_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class SteadyFigures:
    """Transactions sent since, decisions a second, transactions not decided yet, messages in the inbox."""

    sent: int
    per_second: float
    waiting: int
    messages: int


@dataclass(frozen=True)
class Steady:
    """All that runs, ready to go on."""

    options: DemoOptions
    settings: Settings
    stack: Stack
    stream: StreamProcess
    parts: Parts
    inbox: Path

    def run(self, watch: Callable[[SteadyFigures], None], *, tps: float = TPS) -> NoReturn:
        """Send and decide until interrupted.

        Parameters
        ----------
        watch
            Called about twice a second.
        tps
            Transactions a second.

        Raises
        ------
        KeyboardInterrupt
            Passed on, when no more is sent.
        ServiceError, StreamError
            Something that is needed has ended.

        """
        kafka = self.settings.kafka
        target = LoadTarget(
            brokers=self.stack.kafka_brokers,
            topic=kafka.transactions_topic,
            labels_topic=kafka.labels_topic,
            payload_format=kafka.transactions_format,
            skip_days=self.options.days,
            tps=tps,
        )
        world = self.options.synthetic()
        load = start_load(replace(world, days=days_needed(world, target)), target)
        seen: deque[tuple[float, int]] = deque()
        before = int(self.stream.status()["decisions"])
        try:
            while True:
                self._check()
                report, decisions = load.report(), int(self.stream.status()["decisions"])
                if report.failed:
                    raise ServiceError(
                        f"{report.failed:,} records were not delivered to kafka: {report.error}"
                    )
                seen.append((time.monotonic(), decisions))
                while seen[-1][0] - seen[0][0] > _RATE_SECONDS:
                    seen.popleft()
                elapsed = seen[-1][0] - seen[0][0]
                watch(
                    SteadyFigures(
                        sent=report.transactions,
                        per_second=(decisions - seen[0][1]) / elapsed if elapsed else 0.0,
                        waiting=max(0, report.transactions - (decisions - before)),
                        messages=messages_in(self.inbox),
                    )
                )
                if self.stream.wait(_TICK_SECONDS):
                    raise StreamError("the stream has ended by itself")
        finally:
            load.stop()
            load.wait(_FLUSH_SECONDS)

    def _check(self) -> None:
        self.parts.check()
        if ended := self.stack.ended():
            raise ServiceError(f"{ended[0].name} has ended; its log: {ended[0].log}")


def messages_in(inbox: Path) -> int:
    """Return how many messages about alerts a folder has; 0 when there is none."""
    return sum(1 for _ in inbox.glob("*.eml")) if inbox.is_dir() else 0
