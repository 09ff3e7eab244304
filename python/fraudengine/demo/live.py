"""The demonstration as it is meant to run: real Kafka, PostgreSQL and Redis, transactions as they happen.

The history but its last days goes to Kafka as fast as possible, so that every window is full; the last days
follow at a steady rate, labels when they become known. What came of it is read back from PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from redis import Redis

from fraudengine import services
from fraudengine.config import Settings
from fraudengine.datasets.load import LoadReport, LoadTarget, start_load
from fraudengine.demo.folder import SETTINGS, settings_of, taken
from fraudengine.demo.outcome import TRUTH, Outcome, by_kind, examples, outcome
from fraudengine.demo.prepare import DemoOptions, Prepared, prepare
from fraudengine.demo.tally import Stored, Tally
from fraudengine.demo.watching import Figures, Follower
from fraudengine.errors import ServiceError
from fraudengine.services import Stack
from fraudengine.streaming import StreamProcess
from fraudengine.training.options import Progress, silent

__all__ = ["Counts", "LiveResult", "run_live"]

_LIVE_SECONDS: Final = 60.0
_PARQUET: Final = "decisions.parquet"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Every place where transactions are counted, warm-up included.

    Attributes
    ----------
    sent, labels_sent
        Records that Kafka has acknowledged.
    decided, dead_letters
        Decisions that Kafka has acknowledged, and records refused.
    stored
        What PostgreSQL holds.
    redis
        Decisions that Redis has counted.

    """

    sent: int
    labels_sent: int
    decided: int
    dead_letters: int
    stored: Stored
    redis: int

    @property
    def sound(self) -> bool:
        """Whether every transaction was decided, written and counted once, and every label written."""
        stored = self.stored
        return (
            self.sent == self.decided == stored.rows == self.redis
            and self.labels_sent == stored.labels
            and not (stored.lost or stored.doubled or stored.unknown or self.dead_letters)
        )


@dataclass(frozen=True, kw_only=True)
class LiveResult:
    """What a live demonstration leaves behind.

    Attributes
    ----------
    prepared
        History and model.
    decisions
        Parquet file of the live part's decisions, as read back from PostgreSQL.
    settings
        File by which other commands find services and state of the demonstration.
    services_folder, postgres_url, redis_url
        Where the services keep their data, and the addresses they have again when started from there.
    whole, by_typology
        Outcome of the live part, and of each kind of fraud.
    examples
        Some flagged transactions with score, action and reasons.
    counts
        Of everything.
    load
        The load's final figures.
    latency_millis
        From the broker's receipt to the decision in the live part: p50, p95, p99.

    """

    prepared: Prepared
    decisions: Path
    settings: Path
    services_folder: Path
    postgres_url: str
    redis_url: str
    whole: Outcome
    by_typology: dict[str, Outcome]
    examples: pl.DataFrame
    counts: Counts
    load: LoadReport
    latency_millis: tuple[float, float, float]


def run_live(
    out: Path,
    options: DemoOptions,
    *,
    tps: float | None = None,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda _line: None,
    watch: Callable[[Figures], None] = lambda _figures: None,
) -> LiveResult:
    """Run the whole job and write everything below `out`; all that was started is stopped at the end.

    Parameters
    ----------
    out
        Folder for history, bundle, decisions, services and state; what an earlier run left is replaced.
    options
        The history.
    tps
        Transactions a second of the live part, 0 for as fast as possible; None: so that it takes a minute.
    progress
        Called with stage, steps done, steps in all while the model is made.
    tell
        Called with one line about what is done next.
    watch
        Called about twice a second while transactions flow.

    Raises
    ------
    ConfigError, TrainingError
        As `prepare`; another demonstration runs in the folder.
    ServiceError
        A service is missing, cannot be started, or has ended.
    StreamError
        The stream has ended, or nothing moves any more.

    """
    with taken(out):
        settings = settings_of(out, threads=options.threads)
        # First of all: what is missing is told before minutes of training.
        with _started(settings, tell) as stack:
            try:
                prepared = prepare(out, options, progress)
                with StreamProcess(settings, prepared.bundle) as stream:
                    tell(f"live elsewhere: fraudengine status --live --url {stream.address}")
                    return _decided(out, options, settings, stack, prepared, stream, tps=tps, watch=watch)
            finally:
                tell("stopping stream and services")


def _started(settings: Settings, tell: Callable[[str], None]) -> Stack:
    try:
        return services.up(settings.embedded, report=lambda name, line: tell(f"{name}: {line}"))
    except ServiceError as error:
        raise ServiceError(f"{error}. Without any of them: fraudengine demo --replay") from error


def _decided(
    out: Path,
    options: DemoOptions,
    settings: Settings,
    stack: Stack,
    prepared: Prepared,
    stream: StreamProcess,
    *,
    tps: float | None,
    watch: Callable[[Figures], None],
) -> LiveResult:
    """Send the history through the stream and count what came of it."""
    history = prepared.history
    truth = history.filter(pl.col("event_time") >= options.cut).select("transaction_id", *TRUTH)
    load = start_load(
        options.synthetic(),
        LoadTarget(
            brokers=stack.kafka_brokers,
            topic=settings.kafka.transactions_topic,
            labels_topic=settings.kafka.labels_topic,
            payload_format=settings.kafka.transactions_format,
            warm_days=options.learned_days,
            hold=True,
            tps=truth.height / _LIVE_SECONDS if tps is None else tps,
        ),
    )
    with Tally(stack.postgres_url, truth, options.cut) as tally:
        try:
            amounts = (prepared.trained_transactions, truth.height)
            follower = Follower(load, stream, stack, tally, amounts=amounts, days=options.days, watch=watch)
            status = follower.run()
        finally:
            load.stop()
        report = load.report()
        counts = Counts(
            sent=report.acked - report.labels,
            labels_sent=report.labels,
            decided=status["delivered"],
            dead_letters=status["dead_letters"],
            stored=tally.stored(history["transaction_id"]),
            redis=_counted_in_redis(stack.redis_url),
        )
        decisions = tally.decisions()
    decisions.write_parquet(out / _PARQUET, compression="zstd")
    joined = decisions.join(truth, on="transaction_id", how="inner", maintain_order="left")
    p50, p95, p99 = np.percentile(decisions["latency_micros"].to_numpy() / 1e3, [50, 95, 99]).tolist()
    return LiveResult(
        prepared=prepared,
        decisions=out / _PARQUET,
        settings=out / SETTINGS,
        services_folder=stack.folder,
        postgres_url=stack.postgres_url,
        redis_url=stack.redis_url,
        whole=outcome(joined),
        by_typology=by_kind(joined),
        examples=examples(joined),
        counts=counts,
        load=report,
        latency_millis=(p50, p95, p99),
    )


def _counted_in_redis(url: str) -> int:
    with closing(Redis.from_url(url)) as client:
        return int(client.hget("fraud:counters", "transactions") or 0)
