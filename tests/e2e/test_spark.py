"""The job on Spark decides what the engine decides in the same order; it loses and doubles nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
import redis
from service_stack import Fresh
from spark_job import SparkUnderTest, assert_spark_right, decisions_of
from stream_process import eventually
from stream_topics import Topics
from wire_messages import by_source

from fraudengine import _native, config
from fraudengine.spark.launch import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "Spark is there")


def test_spark_decides_what_the_engine_decides(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    sent = topics.send(history)
    settings = {**topics.settings(), "spark.batch_rows": sent // 6}
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        job.finish(900)
    assert_spark_right(topics, sent, bundle, history)


def test_the_writers_follow_what_spark_decides(
    topics: Topics, bundle: Path, history: pl.DataFrame, fresh: Fresh
) -> None:
    some = history.head(3_000)
    sent = topics.send(some)
    with SparkUnderTest(bundle, topics.settings(), topics.folder / "spark") as job:
        job.finish(900)
    decided = decisions_of(topics.brokers, topics.names["decisions"])
    assert len(by_source(decided)) == sent
    first = sum(not record.flags & 1 for _, record in decided)
    stores = {"postgres.url": fresh.postgres(), "redis.url": fresh.redis()}
    on = {"postgres.enabled": True, "redis.enabled": True}
    settings = config.load(flags={**topics.settings(), **on, **stores})
    writers = _native.Sinks(settings.native_json())
    try:
        with psycopg.connect(stores["postgres.url"], autocommit=True) as database:
            eventually(lambda: _rows(database) == first, 60, f"{first} rows: {writers.status()}")
        with redis.Redis.from_url(stores["redis.url"], decode_responses=True) as live:
            eventually(lambda: live.hget("fraud:counters", "transactions") == str(first), 60, "counters")
    finally:
        writers.stop()


def _rows(database: psycopg.Connection[tuple[int]]) -> int:
    try:
        row = database.execute("SELECT count(*) FROM transactions").fetchone()
    except psycopg.errors.UndefinedTable:
        return -1
    return -1 if row is None else row[0]


def test_after_kills_nothing_is_lost_or_doubled(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    some = history.head(6_000)
    sent = topics.send(some)
    settings = {**topics.settings(), "spark.batch_rows": sent // 8, "engine.lateness_seconds": 60}
    commits = topics.folder / "spark" / "checkpoint" / "commits"
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        _await_batches(commits, 1)
        job.kill()
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        job.finish(900)
    assert_spark_right(topics, sent, bundle, some, timedelta(minutes=1))


def _await_batches(commits: Path, least: int) -> None:
    def there() -> bool:
        return sum(path.name.isdigit() for path in commits.glob("*")) >= least

    eventually(there, 300, f"{least} batches")
