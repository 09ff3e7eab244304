"""The demonstration as it is meant to run: real Kafka, PostgreSQL and Redis, transactions as they happen.

The history but its last days goes to Kafka as fast as possible, so that every window is full; the last days
follow at a steady rate, labels when they become known. What came of it is read back from PostgreSQL. Beside
it run the dashboard, the scoring service in front of the stream, and alerts that write into a folder.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from redis import Redis

from fraudengine import services
from fraudengine.config import Settings
from fraudengine.datasets.load import LoadReport, LoadTarget, start_load
from fraudengine.demo.folder import INBOX, SETTINGS, settings_of, taken
from fraudengine.demo.outcome import TRUTH, Outcome, by_kind, examples, outcome
from fraudengine.demo.parts import Parts, free_port
from fraudengine.demo.prepare import DemoOptions, Prepared, prepare
from fraudengine.demo.steady import Steady, messages_in
from fraudengine.demo.tally import Stored, Tally
from fraudengine.demo.watching import Figures, Follower
from fraudengine.errors import ServiceError
from fraudengine.services import Stack
from fraudengine.streaming import StreamProcess
from fraudengine.training.options import Progress, silent

__all__ = ["Counts", "LiveResult", "run_live"]

_LIVE_SECONDS: Final = 60.0
_DASHBOARD_PORT: Final = 8501
_GRPC_PORT: Final = 50051
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
    addresses
        Where each part is reached while it runs, by its name.
    messages
        Messages about alerts in the inbox.

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
    addresses: dict[str, str]
    messages: int


def run_live(
    out: Path,
    options: DemoOptions,
    *,
    tps: float | None = None,
    dashboard_port: int | None = None,
    grpc_port: int | None = None,
    stay: Callable[[LiveResult, Steady], None] | None = None,
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
    dashboard_port, grpc_port
        Ports on 127.0.0.1; 0 for free ones, None for the usual ones unless they are taken.
    stay
        Called with the result while everything still runs, and with what goes on sending; KeyboardInterrupt
        ends it. None: everything is stopped when the result is there.
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
        A service or another part is missing, cannot be started, or has ended.
    StreamError
        The stream has ended, or nothing moves any more.

    """
    chosen = free_port(dashboard_port, _DASHBOARD_PORT), free_port(grpc_port, _GRPC_PORT)
    with taken(out):
        settings = settings_of(out, threads=options.threads)
        # First of all: what is missing is told before minutes of training.
        with _started(settings, tell) as stack:
            try:
                prepared = prepare(out, options, progress)
                with (
                    StreamProcess(settings, prepared.bundle) as stream,
                    Parts(out, out / SETTINGS) as parts,
                ):
                    world = _World(out.absolute(), options, settings, stack, prepared, stream, parts)
                    result = world.decide(tps, chosen, tell, watch)
                    if stay is not None:
                        with suppress(KeyboardInterrupt):
                            stay(result, Steady(options, settings, stack, stream, parts, out / INBOX))
                    return result
            finally:
                tell("stopping everything")


def _started(settings: Settings, tell: Callable[[str], None]) -> Stack:
    try:
        return services.up(settings.embedded, report=lambda name, line: tell(f"{name}: {line}"))
    except ServiceError as error:
        raise ServiceError(f"{error}. Without any of them: fraudengine demo --replay") from error


@dataclass(frozen=True)
class _World:
    """All that runs, and what it was made from."""

    out: Path
    options: DemoOptions
    settings: Settings
    stack: Stack
    prepared: Prepared
    stream: StreamProcess
    parts: Parts

    def decide(
        self,
        tps: float | None,
        chosen: tuple[int, int],
        tell: Callable[[str], None],
        watch: Callable[[Figures], None],
    ) -> LiveResult:
        """Send the history through the stream and count what came of it."""
        parts, bundle = self.parts, self.prepared.bundle
        parts.start_dashboard(chosen[0], self.stream.address, tell)
        history, options, stack = self.prepared.history, self.options, self.stack
        truth = history.filter(pl.col("event_time") >= options.cut).select("transaction_id", *TRUTH)
        rate = truth.height / _LIVE_SECONDS if tps is None else tps
        load = start_load(options.synthetic(), self._target(rate))
        with Tally(stack.postgres_url, truth, options.cut) as tally:
            try:
                follower = Follower(
                    load,
                    self.stream,
                    stack,
                    tally,
                    amounts=(self.prepared.trained_transactions, truth.height),
                    days=options.days,
                    watch=watch,
                    warmed=lambda: self._warmed(chosen[1], bundle, tell),
                    check=parts.check,
                )
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
        return self._result(decisions, truth, counts, report)

    def _warmed(self, grpc_port: int, bundle: Path, tell: Callable[[str], None]) -> None:
        """Start what needs full windows: alerts of the days before would be old news."""
        tell("starting alerts and scoring service")
        # From it the service begins; otherwise it would read the whole log.
        self.stream.snapshot()
        self.parts.start_alerts(self.out / INBOX)
        self.parts.start_serve(grpc_port, bundle, tell)

    def _target(self, tps: float) -> LoadTarget:
        kafka = self.settings.kafka
        return LoadTarget(
            brokers=self.stack.kafka_brokers,
            topic=kafka.transactions_topic,
            labels_topic=kafka.labels_topic,
            payload_format=kafka.transactions_format,
            warm_days=self.options.learned_days,
            hold=True,
            tps=tps,
        )

    def _result(
        self, decisions: pl.DataFrame, truth: pl.DataFrame, counts: Counts, report: LoadReport
    ) -> LiveResult:
        file = self.out / _PARQUET
        decisions.write_parquet(file, compression="zstd")
        joined = decisions.join(truth, on="transaction_id", how="inner", maintain_order="left")
        p50, p95, p99 = np.percentile(decisions["latency_micros"].to_numpy() / 1e3, [50, 95, 99]).tolist()
        return LiveResult(
            prepared=self.prepared,
            decisions=file,
            settings=self.out / SETTINGS,
            services_folder=self.stack.folder,
            postgres_url=self.stack.postgres_url,
            redis_url=self.stack.redis_url,
            whole=outcome(joined),
            by_typology=by_kind(joined),
            examples=examples(joined),
            counts=counts,
            load=report,
            latency_millis=(p50, p95, p99),
            addresses={
                **{part.name: part.address for part in self.parts.running},
                "stream": self.stream.address,
                **{name: service.address for name, service in self.stack.services.items()},
            },
            messages=messages_in(self.out / INBOX),
        )


def _counted_in_redis(url: str) -> int:
    with closing(Redis.from_url(url)) as client:
        return int(client.hget("fraud:counters", "transactions") or 0)
