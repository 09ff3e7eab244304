"""`fraudengine spark run` as a child process under test, and what its log of decisions says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
from child_process import ChildUnderTest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from stream_oracle import assert_same
from stream_process import eventually
from stream_topics import Topics
from wire_messages import by_source, message

from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.engine import Flag
from fraudengine.replay import replay

__all__ = [
    "COMMAND",
    "SMALL",
    "SparkUnderTest",
    "as_options",
    "assert_replay_right",
    "assert_spark_right",
    "await_batches",
    "decisions_of",
    "files_of",
]

COMMAND = [sys.executable, "-c", "from fraudengine.cli import main; main()"]
"""`fraudengine`, of the interpreter that has the version under test."""
SMALL = {
    "spark.cells": 512,
    "spark.buckets": 8,
    "spark.partitions": 2,
    "engine.features": "all",
    "spark.options": '{"spark.driver.memory": "2g"}',
}
"""Settings of a job that decides a few thousand transactions."""


class SparkUnderTest(ChildUnderTest):
    """One driver with its executors; a context manager that ends them whatever happens.

    Parameters
    ----------
    bundle
        Model.
    settings
        `SECTION.KEY` and value, over small ones.
    folder
        Working folder: checkpoint and log go there.
    drain
        End when everything is decided that is there.

    """

    def __init__(
        self, bundle: Path, settings: Mapping[str, object], folder: Path, *, drain: bool = True
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "spark.log"
        options = as_options({**SMALL, "spark.checkpoint": folder / "checkpoint", **settings})
        command = [*COMMAND, "spark", "run", str(bundle), *(["--drain"] if drain else []), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, start_new_session=True, env=dict(os.environ)
            )

    def kill(self) -> None:
        """End driver, Java and Python workers as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def finish(self, seconds: float) -> None:
        """Wait until it has ended by itself, well."""
        code = self.process.wait(seconds)
        assert code == 0, f"ended with {code}\n{self.tail(60)}"


def as_options(settings: Mapping[str, object]) -> list[str]:
    """Return settings as options of the command line."""
    return [part for name, value in settings.items() for part in ("--set", f"{name}={_text(value)}")]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def await_batches(checkpoint: Path, least: int) -> None:
    """Wait until a job has committed so many micro-batches."""

    def there() -> bool:
        return sum(path.name.isdigit() for path in (checkpoint / "commits").glob("*")) >= least

    eventually(there, 300, f"{least} batches")


def decisions_of(brokers: str, topic: str) -> list[tuple[int, Any]]:
    """Return the committed decisions in the order in which they were taken: batch, event time, place."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"read-{uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    make = message("DecisionRecord")
    found: list[tuple[int, int, Any]] = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        ended = False
        while not ended:
            for record in consumer.consume(1000, timeout=0.1):
                error = record.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended = True
                    continue
                batch, offset = dict(record.headers() or [])["spark-batch"], record.offset()
                assert batch is not None
                assert offset is not None
                found.append((int(batch), offset, make.FromString(record.value())))
    finally:
        consumer.close()

    def place(each: tuple[int, int, Any]) -> tuple[int, int, int, int]:
        batch, _, row = each
        return batch, row.transaction.event_time_micros, row.source_partition, row.source_offset

    return [(offset, row) for _, offset, row in sorted(found, key=place)]


def assert_spark_right(
    topics: Topics, sent: int, bundle: Path, history: pl.DataFrame, lateness: timedelta = timedelta(hours=1)
) -> dict[str, int]:
    """Compare every decision and feature with the engine's in the same order; return counts."""
    decided = decisions_of(topics.brokers, topics.names["decisions"])
    assert len(by_source(decided)) == sent, "every record once"
    order = pl.DataFrame({"transaction_id": [row.transaction.transaction_id for _, row in decided]})
    by_id = history.unique("transaction_id", maintain_order=True)
    frame = order.join(by_id, on="transaction_id", how="left", maintain_order="left")
    engine = Bundle.load(bundle).engine(lateness=lateness)
    expected = engine.process(frame, features.labels_of(history), features=True)
    assert_same(decided, expected)
    assert expected.features is not None
    # As values: a missing one has many bit patterns.
    found = np.array([row.features for _, row in decided], dtype=np.float32)
    wrong = ~((found == expected.features) | (np.isnan(found) & np.isnan(expected.features)))
    assert not wrong.any(), f"{wrong.sum()} feature values differ"
    flags = np.array([row.flags for _, row in decided])
    seen = {name: int(((flags & bit) != 0).sum()) for name, bit in (("repeated", 1), ("late", 2))}
    assert all(seen.values()), seen
    return {"decisions": len(decided), **seen}


def files_of(history: pl.DataFrame, folder: Path) -> Path:
    """Write a history as files whose times overlap, some rows without a customer; return the folder."""
    broken = pl.when(pl.int_range(pl.len()) % 997 == 5).then(None).otherwise(pl.col("customer_id"))
    given = history.with_columns(customer_id=broken)
    folder.mkdir()
    for number in range(3):
        given[number::3].write_parquet(folder / f"part-{number}.parquet")
    return folder


def assert_replay_right(bundle: Path, history: Path, out: Path) -> dict[str, int]:
    """Compare every decision of a replay on Spark with the engine's; return the counts that it must tell."""
    files = [pl.read_parquet(path) for path in sorted(history.iterdir())]
    placed = [
        frame.with_columns(source_file=pl.lit(at, pl.Int32), source_row=pl.int_range(pl.len()))
        for at, frame in enumerate(files)
    ]
    ordered = pl.concat(placed).sort("event_time", maintain_order=True)
    wanted = replay(bundle, ordered).decisions.with_columns(ordered["source_file"], ordered["source_row"])
    found = pl.read_parquet(out / "*.parquet")
    place = ["source_file", "source_row"]
    wanted, found = wanted.sort(place), found.sort(place)
    assert found.height == ordered.height
    refused = wanted["flags"] & Flag.REJECTED != 0
    assert refused.sum() > 0
    assert (wanted["flags"] & Flag.DUPLICATE != 0).sum() > 0
    assert found.select(place).equals(wanted.select(place))
    assert found.filter(refused)["action"].null_count() == refused.sum()
    for name in ("transaction_id", "event_time", "action", "flags", "score", "margin", "anomaly"):
        ours, theirs = found.filter(~refused)[name], wanted.filter(~refused)[name]
        assert ours.cast(theirs.dtype).equals(theirs), name
    for name in ("reasons", "reason_weights"):
        assert found.filter(~refused)[name].to_list() == wanted.filter(~refused)[name].to_list(), name
    return {"decisions": found.height, "rejected": int(refused.sum())}
