"""Follows a load through the stream to both stores: warm-up, live part, until everything is written.

Nothing waits for time: each stage ends when what it is about has happened, so a slow machine is only slower.
What stands still for two minutes is an error that says what it was.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from fraudengine.errors import ServiceError, StreamError

if TYPE_CHECKING:
    from fraudengine.datasets.load import Load, LoadReport
    from fraudengine.demo.outcome import Outcome
    from fraudengine.demo.tally import Tally
    from fraudengine.services import Stack
    from fraudengine.streaming import StreamProcess

__all__ = ["Figures", "Follower", "Stage"]

_TICK_SECONDS: Final = 0.5
_RATE_SECONDS: Final = 5.0
_STALLED_SECONDS: Final = 120.0
_BUCKET = re.compile(r'^fraudengine_decision_latency_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.MULTILINE)
_SHARES: Final = (0.5, 0.95, 0.99)


class Stage(StrEnum):
    """What a demonstration is doing."""

    WARMING = "warming"
    LIVE = "live"
    SETTLING = "settling"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Where it stands; counts are of the stage (warm-up, or live part) unless said otherwise.

    Attributes
    ----------
    stage
        What it is doing.
    day, days
        Day of the history being sent, and how many it has.
    sent, to_send
        Transactions sent, and to be sent.
    per_second
        Decisions a second in the last five seconds.
    latency_millis
        From the broker's receipt to the decision: bounds of p50, p95, p99; infinite beyond the last bucket;
        None before the first decision.
    waiting
        Transactions sent and not decided.
    actions
        Decisions: approved, reviewed, blocked.
    outcome
        Of the live part, as far as it is in PostgreSQL.
    postgres_rows, postgres_behind, redis_rows, redis_behind
        Decisions written to a store since the start, and those that wait to be.
    labels
        Labels taken in since the start.
    dead_letters
        Records refused since the start.

    """

    stage: Stage
    day: int
    days: int
    sent: int
    to_send: int
    per_second: float
    latency_millis: tuple[float, float, float] | None
    waiting: int
    actions: tuple[int, int, int]
    outcome: Outcome
    postgres_rows: int
    postgres_behind: int
    redis_rows: int
    redis_behind: int
    labels: int
    dead_letters: int


class Follower:
    """Follows one load.

    Parameters
    ----------
    load
        It holds after its warm-up.
    stream, stack, tally
        What it goes through.
    amounts
        Transactions of warm-up and live part.
    days
        Of the history.
    watch
        Called about twice a second.
    warmed
        Called once, after the warm-up and before the live part.
    check
        Called as often as `watch`; raises when something else that is needed has ended.

    """

    def __init__(
        self,
        load: Load,
        stream: StreamProcess,
        stack: Stack,
        tally: Tally,
        *,
        amounts: tuple[int, int],
        days: int,
        watch: Callable[[Figures], None],
        warmed: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self._stream = stream
        self._stack = stack
        self._tally = tally
        self._amounts = amounts
        self._days = days
        self._watch = watch
        self._warmed = warmed
        self._check = check
        self._base_actions = (0, 0, 0)
        self._base_latency: dict[float, int] = {}
        self._seen: deque[tuple[float, int]] = deque()
        self._moved: tuple[float, object] = (time.monotonic(), None)

    def run(self) -> dict[str, Any]:
        """Follow it to the end; return the stream's last status.

        Raises
        ------
        ServiceError
            A service has ended, or records could not be delivered.
        StreamError
            The stream has ended, or nothing moves any more.

        """
        self._until(Stage.WARMING, lambda told: self._load.report().phase == "holding" and self._all_in(told))
        self._warmed()
        told = self._stream.status()
        self._base_actions = _actions(told)
        self._base_latency = _latency(self._stream.metrics())
        self._load.release()
        self._until(Stage.LIVE, lambda _told: self._load.wait(0))
        self._until(Stage.SETTLING, self._all_in)
        return self._stream.status()

    def _until(self, stage: Stage, over: Callable[[dict[str, Any]], bool]) -> None:
        while True:
            told = self._stream.status()
            report = self._load.report()
            if report.failed:
                raise ServiceError(f"{report.failed:,} records were not delivered to kafka: {report.error}")
            self._check()
            self._refuse_standstill(told, report)
            done = over(told)
            self._watch(self._figures(stage, told, report))
            if done:
                return
            if self._stream.wait(_TICK_SECONDS):
                raise StreamError("the stream has ended by itself")

    def _all_in(self, told: dict[str, Any]) -> bool:
        """Tell whether all that was sent is decided and written to both stores."""
        report = self._load.report()
        written = all(_sink(told, name, "rows") >= report.transactions for name in ("postgres", "redis"))
        labelled = _sink(told, "postgres-labels", "rows") >= report.labels
        return written and labelled and told["delivered"] >= report.transactions

    def _refuse_standstill(self, told: dict[str, Any], report: LoadReport) -> None:
        if ended := self._stack.ended():
            raise ServiceError(f"{ended[0].name} has ended; its log: {ended[0].log}")
        rows = {name: sink["rows"] for name, sink in told["sinks"].items()}
        state = (report.phase, report.day, report.acked, told["delivered"], told["labels"], rows)
        since, before = self._moved
        if state != before:
            self._moved = (time.monotonic(), state)
        elif time.monotonic() - since > _STALLED_SECONDS:
            errors = [f"{name}: {sink['error']}" for name, sink in told["sinks"].items() if sink["error"]]
            known = "; ".join(errors) or "no error is known"
            raise StreamError(
                f"nothing has moved for {_STALLED_SECONDS:.0f} s: {report.transactions:,} transactions and "
                f"{report.labels:,} labels sent, {told['delivered']:,} decided, "
                f"{told['labels']:,} labels taken in, written {rows}; {known}"
            )

    def _figures(self, stage: Stage, told: dict[str, Any], report: LoadReport) -> Figures:
        live = stage is not Stage.WARMING
        before = self._amounts[0] if live else 0
        return Figures(
            stage=stage,
            day=report.day,
            days=self._days,
            sent=report.transactions - before,
            to_send=self._amounts[live],
            per_second=self._per_second(told["decisions"]),
            latency_millis=_quantiles(_latency(self._stream.metrics()), self._base_latency),
            waiting=max(0, report.transactions - told["decisions"]),
            actions=_minus(_actions(told), self._base_actions),
            outcome=self._tally.refresh() if live else self._tally.outcome,
            postgres_rows=_sink(told, "postgres", "rows"),
            postgres_behind=_sink(told, "postgres", "lag"),
            redis_rows=_sink(told, "redis", "rows"),
            redis_behind=_sink(told, "redis", "lag"),
            labels=told["labels"],
            dead_letters=told["dead_letters"],
        )

    def _per_second(self, decisions: int) -> float:
        now = time.monotonic()
        self._seen.append((now, decisions))
        while now - self._seen[0][0] > _RATE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        return (decisions - before) / (now - since) if now > since else 0.0


def _sink(told: dict[str, Any], name: str, figure: str) -> int:
    """Return a figure of a writer, 0 as long as it has not begun."""
    sink = told["sinks"].get(name)
    return int(sink[figure]) if sink else 0


def _actions(told: dict[str, Any]) -> tuple[int, int, int]:
    return told["approve"], told["review"], told["block"]


def _minus(now: tuple[int, int, int], before: tuple[int, int, int]) -> tuple[int, int, int]:
    return now[0] - before[0], now[1] - before[1], now[2] - before[2]


def _latency(page: str) -> dict[float, int]:
    """Return how many decisions took at most so many seconds, from the page for Prometheus."""
    return {float(bound.replace("+Inf", "inf")): int(count) for bound, count in _BUCKET.findall(page)}


def _quantiles(now: dict[float, int], before: dict[float, int]) -> tuple[float, float, float] | None:
    since = {bound: count - before.get(bound, 0) for bound, count in now.items()}
    total = since.get(math.inf, 0)
    if not total:
        return None
    p50, p95, p99 = (
        next(bound for bound, count in since.items() if count >= share * total) for share in _SHARES
    )
    return p50 * 1e3, p95 * 1e3, p99 * 1e3
