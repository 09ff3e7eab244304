"""A snapshot of a million customers while the stream decides, and how soon a killed stream decides again.

    python benchmarks/snapshot.py [--customers 1200000] [--rate 5000] [--kills 3]

Real Kafka. The stream takes in some days of a large population, is stopped in order, and then decides a
steady open-loop load with snapshots at short intervals. Told are the longest gap between two chunks'
decisions and the latency, from the broker's receipt to the decision, while a snapshot is copied and in
between. Then it is killed again and again, each time shortly before the next snapshot, so that as much of
the log as ever is behind the newest: from the start of the new process to its first decision. Writes
results/snapshot.json.

A longer gap during snapshots than in between means that a part takes too long to copy.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from stream_process import StreamUnderTest

from machine import facts, save
from stream import ROOT, Bench, page_of, percentiles, read, started, varint_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraudengine.datasets.load import Load

# A window of a snapshot is looked for by its unfinished file.
LOOK_SECONDS = 0.002
# Decisions at the end of the log among which the first of a new process is looked for.
BEHIND = 200_000
SOURCE_TIME, DECIDED_TIME, GENERATION = 9, 10, 13


class Windows:
    """When snapshots were under way, in microseconds since 1970; watched by a thread."""

    def __init__(self, folder: Path) -> None:
        self.found: list[tuple[float, float]] = []
        self._file = folder / ".snapshot.part"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        began = None
        while not self._stop.wait(LOOK_SECONDS):
            there = self._file.exists()
            if there and began is None:
                began = time.time()
            elif not there and began is not None:
                self.found.append((began * 1e6, time.time() * 1e6))
                began = None

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def cover(self, micros: np.ndarray) -> np.ndarray:
        """Return for each time whether a snapshot was under way."""
        covered = np.zeros(len(micros), dtype=bool)
        for begin, end in self.found:
            covered |= (micros >= begin) & (micros <= end)
        return covered


def decided(brokers: str, topic: str, first: int) -> Iterator[tuple[int, int, int]]:
    """Yield source time, decided time and generation of each decision from an offset on."""
    for record in read(brokers, topic, first):
        fields = varint_fields(record.value(), {SOURCE_TIME, DECIDED_TIME, GENERATION})
        if SOURCE_TIME in fields:
            yield fields[SOURCE_TIME], fields[DECIDED_TIME], fields.get(GENERATION, 0)


def side(gaps: np.ndarray, latencies: np.ndarray) -> dict[str, Any]:
    """Return the figures of one side: during snapshots, or in between."""
    return {
        "decisions": len(latencies),
        "longest gap, ms": round(float(gaps.max()) / 1e3, 2),
        "gap p99.9, ms": round(float(np.percentile(gaps, 99.9)) / 1e3, 2),
        "append to decision, ms": percentiles(list(latencies / 1e3)),
        "longest, ms": round(float(latencies.max()) / 1e3, 2),
    }


def pauses(rows: list[tuple[int, int, int]], windows: Windows) -> dict[str, Any]:
    """Compare decisions made while a snapshot was under way with the others."""
    source, at, _ = np.array(rows, dtype=np.int64).T
    chunks = np.unique(at)
    gaps, inside = np.diff(chunks), windows.cover(chunks[1:])
    during = windows.cover(at)
    return {
        "snapshots": len(windows.found),
        "seconds of a snapshot": round(statistics.median((e - b) / 1e6 for b, e in windows.found), 2),
        "during snapshots": side(gaps[inside], (at - source)[during]),
        "in between": side(gaps[~inside], (at - source)[~during]),
    }


def restart(
    bench: Bench, flags: dict[str, object], old: StreamUnderTest, turn: int
) -> tuple[float, StreamUnderTest]:
    """Kill a stream shortly before its next snapshot and start another; return when, and the new one."""
    interval = float(str(flags["state.snapshot_interval_seconds"]))
    published = old.status()["snapshots"]
    old.await_status(lambda told: told["snapshots"] > published, 120, "a snapshot")
    time.sleep(0.9 * interval)
    old.kill()
    return time.time(), StreamUnderTest(bench.bundle, flags, bench.folder / f"restart{turn}")


def read_end(brokers: str, topic: str) -> int:
    """Return the offset after the last record of a topic."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])
    finally:
        consumer.close()


def run(bench: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill the tables, measure pauses, then kill and start again."""
    settings = bench.topics("snapshot")
    kafka = settings.kafka
    flags = bench.flags(settings, databases=False)
    load = bench.load(
        settings, tps=arguments.rate, warm_days=arguments.warm_days, hold=True, seconds=arguments.seconds_max
    )
    with StreamUnderTest(
        bench.bundle, flags | {"state.snapshot_interval_seconds": 86_400}, bench.folder / "filling"
    ) as filling:
        while (report := load.report()).phase in {"preparing", "warming"}:
            time.sleep(0.1)
        filling.await_decisions(report.warm_transactions, 600)
        assert filling.stop() == 0
    flags |= {"state.snapshot_interval_seconds": arguments.interval}
    with StreamUnderTest(bench.bundle, flags, bench.folder / "steady") as steady:
        told = steady.await_status(lambda told: told["phase"] == "running", 120, "that it runs")
        first = report.warm_transactions
        windows = Windows(settings.state.folder)
        load.release()
        steady.await_status(lambda now: now["snapshots"] >= told["snapshots"] + 3, 600, "3 snapshots")
        windows.stop()
        quiet = pauses(list(decided(kafka.brokers, kafka.decisions_topic, first))[arguments.rate :], windows)
        entities = re.search(r'fraudengine_entities{entity="customer"} (\d+)', page_of(steady.client()))
        starts = killed(bench, flags, steady, load, arguments.kills)
    sizes = [path.stat().st_size for path in settings.state.folder.glob("state-*.snapshot")]
    return {
        "transactions before": first,
        "customers": int(entities[1]) if entities else None,
        "bytes of a snapshot": max(sizes),
        **quiet,
        "seconds from start to first decision": starts,
    }


def killed(
    bench: Bench, flags: dict[str, object], running: StreamUnderTest, load: Load, kills: int
) -> list[dict[str, float]]:
    """Kill and start again; return for each start how long it took and how much of the log it read."""
    starts: list[dict[str, float]] = []
    brokers, topic = str(flags["kafka.brokers"]), str(flags["kafka.decisions_topic"])
    with ExitStack() as stack:
        for turn in range(kills):
            began, running = restart(bench, flags, running, turn)
            stack.enter_context(running)
            told = running.await_status(lambda told: told["delivered"] > 0, 120, "a decision")
            # The new process's records stand behind its marker, whose offset is its generation.
            end = read_end(brokers, topic)
            rows = list(decided(brokers, topic, max(0, end - BEHIND)))
            newest = max(generation for *_, generation in rows)
            soonest = min(at for _, at, generation in rows if generation == newest)
            starts.append(
                {
                    "seconds": round(soonest / 1e6 - began, 2),
                    "of these recovery": round(told["recovery_micros"] / 1e6, 2),
                    "records of the log": told["recovered"],
                }
            )
            print(starts[-1], file=sys.stderr)
        load.stop()
        assert running.stop() == 0
    return starts


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_200_000)
    parser.add_argument("--warm-days", type=int, default=5)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two snapshots")
    parser.add_argument("--seconds-max", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.set_defaults(threads=1, labels="fraud", work=ROOT / "build" / "benchmark")
    arguments = parser.parse_args()
    before = facts("confluent-kafka")
    with started(arguments) as bench:
        result = run(bench, arguments)
    print(json.dumps(result, indent=2))
    asked = {name: value for name, value in vars(arguments).items() if name != "work"}
    save("snapshot", {"machine": before, "arguments": asked, **result})


if __name__ == "__main__":
    main()
