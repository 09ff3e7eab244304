"""The job on Spark over a topic: every decision and feature against the engine, and what a transaction costs.

    python benchmarks/spark.py [--rows 100000] [--batches 5] [--cells 4096] [--kill]

Real Kafka, Spark in local mode with two workers (pyspark and Java must be there: `make spark`). Transactions
with repeated ids and late ones, labels. The topic is loaded first, then decided until it is empty. Processor
time is that of the driver, Java and all Python workers, start included, from /proc. With `--kill` driver and
workers are killed twice on the way, and no time is told. Writes results/spark.json, or spark_kill.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from service_stack import Fresh, started_stack
from small_bundle import small_bundle
from spark_job import SparkUnderTest, assert_spark_right
from stream_process import eventually
from stream_topics import Topics, new_topics

from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions
from machine import facts, save

DAYS = 60
_TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    """Processor seconds of all processes of a session, also of those that have ended."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._seconds: dict[int, float] = {}

    def look(self) -> None:
        """Take note of what each process has used."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self._session:
                self._seconds[int(folder.name)] = (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def seconds(self) -> float:
        """Return the sum."""
        return sum(self._seconds.values())


def main() -> None:
    """Run the job and write what it found."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--batches", type=int, default=5)
    arguments.add_argument("--cells", type=int, default=4_096)
    arguments.add_argument("--kill", action="store_true")
    given = arguments.parse_args()
    customers = -(-given.rows // (DAYS * 2 // 3))
    history = generate(
        SyntheticConfig(
            customers=customers,
            merchants=customers // 10,
            days=DAYS,
            fraud_rate=0.02,
            duplicate_rate=0.02,
            late_rate=0.02,
            late_seconds_max=86_400,
            jitter_seconds=5,
            seed=11,
        )
    )
    assert history.height >= given.rows, history.height
    history = history.head(given.rows)
    with tempfile.TemporaryDirectory() as folder, started_stack() as stack:
        booster, forest = BoosterOptions(trees=200, depth=6), ForestOptions(trees=100, rows_per_tree=256)
        bundle = small_bundle(history.head(100_000), Path(folder) / "model", booster, forest, test_days=2)
        topics = new_topics(Fresh(stack), Path(folder))
        sent = topics.send(history)
        told = _decide(topics, bundle, sent, given)
        told |= assert_spark_right(topics, sent, bundle, history)
    told |= {"cells": given.cells, "differences": 0, "killed": 2 if given.kill else 0}
    print(told)
    save("spark_kill" if given.kill else "spark", {"machine": facts(), **told})


def _decide(topics: Topics, bundle: Path, sent: int, given: argparse.Namespace) -> dict[str, Any]:
    settings = {
        **topics.settings(),
        "spark.batch_rows": -(-sent // given.batches),
        "spark.cells": given.cells,
        "spark.trigger_seconds": 0,
    }
    commits = topics.folder / "spark" / "checkpoint" / "commits"
    for least in (1, 3) if given.kill else ():
        with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
            _await_batches(commits, least)
            job.kill()
    since = time.monotonic()
    with SparkUnderTest(bundle, settings, topics.folder / "spark") as job:
        usage = Usage(job.process.pid)
        while job.process.poll() is None:
            usage.look()
            time.sleep(0.5)
        job.finish(1)
    state = sum(path.stat().st_size for path in (topics.folder / "spark/checkpoint/state").rglob("*.*"))
    seconds = time.monotonic() - since
    if given.kill:
        # The last start decided only what the killed ones had left.
        return {"state_files_bytes": state}
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.seconds, 1),
        "microseconds_per_transaction": round(usage.seconds / sent * 1e6, 1),
        "state_files_bytes": state,
    }


def _await_batches(commits: Path, least: int) -> None:
    def there() -> bool:
        return sum(path.name.isdigit() for path in commits.glob("*")) >= least

    eventually(there, 600, f"{least} batches")


if __name__ == "__main__":
    main()
