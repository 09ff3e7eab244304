"""The job on Spark decides what the engine decides in the same order; it loses and doubles nothing."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
import redis
from service_stack import Fresh
from spark_job import (
    COMMAND,
    SparkUnderTest,
    as_options,
    assert_replay_right,
    assert_spark_right,
    await_batches,
    decisions_of,
    files_of,
)
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
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        await_batches(topics.folder / "spark" / "checkpoint", 1)
        job.kill()
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        job.finish(900)
    assert_spark_right(topics, sent, bundle, some, timedelta(minutes=1))


def test_a_replay_of_files_decides_what_the_engine_decides(
    bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    """Repeated ids, ties, labels, rows that break a limit; files whose times overlap; pieces cut anywhere."""
    files, out = files_of(history, tmp_path / "history"), tmp_path / "decisions"
    command = [*COMMAND, "spark", "replay", str(bundle), str(files), "--out", str(out), "--json"]
    # Pieces of 500 rows: buckets and transactions are cut in the middle.
    pieces = json.dumps({"spark.sql.execution.arrow.maxRecordsPerBatch": "500"})
    command += as_options({"spark.buckets": 7, "spark.partitions": 3, "spark.options": pieces})
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    wanted, told = assert_replay_right(bundle, files, out), json.loads(done.stdout)
    assert {name: told[name] for name in wanted} == wanted
