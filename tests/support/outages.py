"""Outages of the services under load, of any length: what must hold during one and after it.

`tests/e2e/test_stream_outages.py` runs short ones, `benchmarks/outages.py` those of a minute. Each needs
services of its own, because it stops them.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import redis
from child_process import children_of
from service_stack import Fresh, embedded_settings, started_stack
from stream_oracle import assert_alerts_right, assert_log_right
from stream_process import StreamUnderTest, eventually
from stream_topics import Follower, PacedLoad, Topics

from fraudengine import services

__all__ = [
    "MEMORY_GROWTH_MAX",
    "Outage",
    "broker_down",
    "own_services",
    "postgres_down",
    "postgres_hung",
    "redis_down",
]

MEMORY_GROWTH_MAX = 64 << 20
"""Bytes by which a stream may grow during an outage, whatever its length: full queues, not a backlog."""

CATCH_UP_SECONDS = 90.0


@contextmanager
def own_services() -> Iterator[tuple[Path, Fresh]]:
    """Yield the folder of services that nobody else uses, and names on them."""
    with started_stack() as stack:
        yield stack.folder, Fresh(stack)


@dataclass
class Outage:
    """A stream under load, with all its writers on, over services that may be stopped.

    Attributes
    ----------
    folder
        Of the services.
    fresh
        Names on them.
    topics
        The stream's.
    bundle, history
        Model, and what is sent round after round.
    seconds
        Length of the outage.
    rate
        Transactions a second.

    """

    folder: Path
    fresh: Fresh
    topics: Topics
    bundle: Path
    history: pl.DataFrame
    seconds: float
    rate: float = 500.0

    def start(self, only: str) -> None:
        """Start a service that was stopped; its port and its data are those of before."""
        services.up(embedded_settings(self.folder), only=[only])

    def stop(self, only: str) -> None:
        """Stop a service in order."""
        assert services.down(self.folder, only=[only]) == [only]

    def frame(self) -> pl.DataFrame:
        """Return what may be sent: the history, and again, until it is enough for a slow machine too."""
        rows = int(self.rate * (self.seconds + 180))
        return pl.concat([self.history] * -(-rows // self.history.height)).head(rows)

    @contextmanager
    def running(self, **more: object) -> Iterator[Running]:
        """Yield the stream with its load, both running."""
        settings: dict[str, Any] = {
            "postgres__enabled": True,
            "postgres__url": self.fresh.postgres(),
            "redis__enabled": True,
            "redis__url": self.fresh.redis(),
            "state__snapshot_interval_seconds": 2,
            **more,
        }
        self.topics.send_labels(self.history)
        with (
            self.topics.stream(self.bundle, **settings) as stream,
            self.topics.follow() as log,
            PacedLoad(self.topics, self.frame(), self.rate) as load,
        ):
            stream.await_decisions(int(self.rate), 90)
            stream.await_status(_all_written, 60, "that the writers write")
            yield Running(
                self, stream, log, load, str(settings["postgres__url"]), str(settings["redis__url"])
            )


def _all_written(told: dict[str, Any]) -> bool:
    return bool(told["sinks"]) and all(sink["state"] == "running" for sink in told["sinks"].values())


@dataclass
class Running:
    """What runs during an outage."""

    outage: Outage
    stream: StreamUnderTest
    log: Follower
    load: PacedLoad
    postgres_url: str
    redis_url: str

    def wait_out(self, condition: Any = None) -> int:
        """Let the outage last; return how much the stream's memory grew at most."""
        began, before, most = time.monotonic(), self.stream.resident_bytes(), 0
        pause = threading.Event()
        while time.monotonic() < began + self.outage.seconds:
            most = max(most, self.stream.resident_bytes() - before)
            assert self.stream.process.poll() is None, self.stream.tail()
            if condition is not None:
                condition()
            pause.wait(0.2)
        assert most <= MEMORY_GROWTH_MAX, f"grew by {most >> 20} MiB"
        return most

    def decides_on(self) -> int:
        """Assert that decisions go on; return how many are there."""
        self.log.await_count(self.log.read() + int(self.outage.rate), 30)
        return len(self.log.valid)

    def finish(self) -> dict[str, Any]:
        """Wait until everything is decided and written; stop; assert that all is there once."""
        sent = self.load.stop()
        self.log.await_count(sent, CATCH_UP_SECONDS)
        decided = self.log.valid
        ids = {record.transaction.transaction_id for _, record in decided}

        def written() -> bool:
            return counted(self.postgres_url, "transactions") >= len(ids)

        eventually(written, CATCH_UP_SECONDS, f"{len(ids)} rows in Postgres")
        self.stream.await_status(
            lambda told: _all_written(told) and all(sink["lag"] == 0 for sink in told["sinks"].values()),
            CATCH_UP_SECONDS,
            "that the writers have caught up",
        )
        restarts = self.stream.status()["restarts"]
        assert self.stream.stop() == 0
        assert_log_right(decided, sent, self.outage.bundle, self.outage.history)
        assert_alerts_right(self.outage.topics, decided)
        self._rows_right(decided, ids)
        return {"sent": sent, "distinct": len(ids), "restarts": restarts, "lost": 0, "doubled": 0}

    def _rows_right(self, decided: list[tuple[int, Any]], ids: set[str]) -> None:
        with psycopg.connect(self.postgres_url) as connection:
            found = connection.execute("SELECT transaction_id FROM transactions").fetchall()
            alerts = connection.execute("SELECT transaction_id FROM alerts").fetchall()
        assert len(found) == len(ids), "none doubled"
        assert {row[0] for row in found} == ids, "none lost"
        flagged = {record.transaction.transaction_id for _, record in decided if record.action != 1}
        assert len(alerts) == len({row[0] for row in alerts})
        assert {row[0] for row in alerts} == flagged


def counted(url: str, table: str) -> int:
    """Return the rows of a table."""
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def broker_down(outage: Outage) -> dict[str, Any]:
    """Stop Kafka: nothing can be decided, nothing is lost, the process lives and answers."""
    with outage.running() as now:
        outage.stop("kafka")
        grown = now.wait_out(now.stream.status)
        outage.start("kafka")
        return {**now.finish(), "memory_growth_bytes": grown}


def postgres_down(outage: Outage) -> dict[str, Any]:
    """Stop Postgres: decisions go on, rows wait in the log."""
    with outage.running() as now:
        outage.stop("postgres")
        grown = now.wait_out()
        now.decides_on()
        now.stream.await_status(
            lambda told: told["sinks"]["postgres"]["state"] == "retrying", 20, "that it is told"
        )
        outage.start("postgres")
        return {**now.finish(), "memory_growth_bytes": grown}


def postgres_hung(outage: Outage) -> dict[str, Any]:
    """Stop Postgres where it is: connections stay open and nobody answers."""
    with outage.running() as now:
        with _suspended(outage, "postgres"):
            grown = now.wait_out()
            now.decides_on()
        return {**now.finish(), "memory_growth_bytes": grown}


def redis_down(outage: Outage) -> dict[str, Any]:
    """Stop Redis and start it empty: decisions go on, and it fills again from where it can."""
    with outage.running() as now:
        outage.stop("redis")
        grown = now.wait_out()
        now.decides_on()
        outage.start("redis")
        with redis.Redis.from_url(now.redis_url) as client:
            eventually(lambda: _answers(client), 20, "Redis answers")
            client.flushall()
        told = now.finish()
        with redis.Redis.from_url(now.redis_url) as client:
            assert client.dbsize() > 0, "it is written again after it was flushed"
        return {**told, "memory_growth_bytes": grown}


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def _suspended(outage: Outage, name: str) -> Iterator[None]:
    """Suspend a service with all its processes, by id."""
    stack = services.running(outage.folder)
    assert stack is not None
    processes = [stack.services[name].process.pid]
    processes += children_of(processes[0])
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
