"""Kafka to decisions on real services: throughput, sustained load with both databases, and latency.

Three jobs, each with its own topics on a broker started for it:

- `throughput`: a topic loaded before; the stream (databases off) beside a bare drain of the same topic and a
  plain Python loop (confluent-kafka, orjson, batched XGBoost, four features; without and with sending),
  taking turns.
- `sustained`: generator, broker, stream, PostgreSQL and Redis together at a steady rate; at the end every
  transaction is looked for in the log and in PostgreSQL.
- `latency`: a steady open-loop rate; from the broker's time of a transaction to the broker's time of its
  decision, beside a bare echo of the same topic in the same run.

A regression in `throughput` means that a transaction costs more; in `latency`, that it waits somewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from fraudengine import config, services
from fraudengine.datasets.load import Load, LoadTarget, days_needed, start_load
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.services.state import State
from fraudengine.services.topics import create_topics
from fraudengine.streaming.client import OperatorClient
from fraudengine.training import TrainOptions, train
from machine import facts, save
from programs import command, fresh, stream_flags
from stream_counts import Spent, in_log, in_table
from stream_peers import python_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
BARE = ROOT / "target" / "release" / "examples" / "bare"
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """A broker (and databases), topics by name, and the processes under test."""

    def __init__(self, stack: services.Stack, folder: Path, arguments: argparse.Namespace) -> None:
        self.stack, self.folder, self.arguments = stack, folder, arguments
        self.bundle = trained(arguments.work)

    def topics(self, name: str) -> config.Settings:
        """Return settings over new topics of this name."""
        threads = {"engine.threads": self.arguments.threads}
        return fresh(name, self.stack.kafka_brokers, self.folder / name, threads)

    def load(self, settings: config.Settings, **target: Any) -> Load:  # noqa: ANN401 - fields of LoadTarget
        """Start to send synthetic transactions to the topics of the settings."""
        # Long ago: years of history fit before today, and nothing is refused for being ahead of the clock.
        history = SyntheticConfig(
            customers=self.arguments.customers,
            merchants=self.arguments.customers // 5,
            start=datetime(2015, 1, 1, tzinfo=UTC),
        )
        wanted = LoadTarget(
            brokers=settings.kafka.brokers,
            topic=settings.kafka.transactions_topic,
            labels_topic=settings.kafka.labels_topic,
            genuine_labels=self.arguments.labels == "all",
            **target,
        )
        return start_load(replace(history, days=days_needed(history, wanted)), wanted)

    def flags(self, settings: config.Settings, *, databases: bool) -> dict[str, object]:
        """Return what a process of the stream is told, by `SECTION.KEY`."""
        wanted = stream_flags(settings, databases=databases)
        wanted |= dict(each.split("=", 1) for each in self.arguments.set)
        if databases:
            wanted |= {"postgres.url": self.stack.postgres_url, "redis.url": self.stack.redis_url}
        return wanted

    @contextmanager
    def stream(
        self, settings: config.Settings, *, databases: bool, more: dict[str, object] | None = None
    ) -> Iterator[tuple[OperatorClient, int]]:
        """Run a stream, with more settings than usual; yield its client and process id."""
        wanted = self.flags(settings, databases=databases) | (more or {})
        out = self.folder / f"{settings.kafka.group}.out"
        with out.open("w") as answers:
            process = subprocess.Popen(command("stream", self.bundle, "--json", flags=wanted), stdout=answers)
        try:
            while "\n}" not in (text := out.read_text()):
                assert process.poll() is None, "the stream ended"
                time.sleep(0.02)
            yield OperatorClient(str(json.loads(text[: text.index("\n}") + 2])["address"])), process.pid
        finally:
            process.terminate()
            process.wait(60)

    def spent(self, pid: int) -> Spent:
        """Begin to count the processor time of a stream, of this process (the load) and of the services."""
        programs = {name: each.pid for name, each in State.read(self.folder / "services").processes.items()}
        return Spent({"stream": pid, "load": os.getpid()}, programs)


@contextmanager
def started(arguments: argparse.Namespace) -> Iterator[Bench]:
    """Run services of its own for a benchmark; stop them and remove their data afterwards."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-bench-") as folder:
        Path(folder).chmod(0o711)
        settings = config.load(flags={"embedded.folder": Path(folder) / "services"}).embedded
        try:
            yield Bench(services.up(settings), Path(folder), arguments)
        finally:
            services.down(settings.folder)


def trained(work: Path) -> Path:
    """Return a bundle of 200 trees and 100 isolation trees; trained once."""
    bundle = work / "bundle"
    if not (bundle / "manifest.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        print("training the ensemble once", file=sys.stderr)
        train(generate(SyntheticConfig(days=60)), TrainOptions(), bundle)
    return bundle


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def until(client: OperatorClient, count: int, pid: int) -> dict[str, float]:
    """Wait for so many decisions; return rate and processor time of the part between 10% and the end."""
    first: tuple[float, int, float] | None = None
    while True:
        told = client.status()
        now, done = time.perf_counter(), int(told["delivered"])
        if first is None and done >= count // 10:
            first = (now, done, cpu_seconds(pid))
        if done >= count:
            assert first is not None
            records = done - first[1]
            cpu = (cpu_seconds(pid) - first[2]) / records * 1e6
            return {"rate": records / (now - first[0]), "cpu_us": cpu}
        time.sleep(0.1)


def stages(metrics_page: str, records: int) -> dict[str, float]:
    """Return microseconds per transaction of each stage's thread."""
    found = re.findall(r'stage_duration_seconds_sum\{stage="(\w+)"\} (\S+)', metrics_page)
    return {name: round(float(value) / records * 1e6, 3) for name, value in found}


def page_of(client: OperatorClient) -> str:
    """Return the metrics of a stream."""
    import urllib.request

    with urllib.request.urlopen(f"{client.url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def throughput(bench: Bench) -> dict[str, Any]:
    """Preload, then take turns."""
    arguments = bench.arguments
    count = arguments.count
    loaded = bench.topics("loaded")
    load = bench.load(loaded, tps=0, count=count)
    load.wait(600)
    print(f"loaded: {load.report().rate:,.0f}/s", file=sys.stderr)
    rounds: dict[str, list[float]] = {"stream": [], "bare drain": [], "stream cpu us": []}
    by_stage: dict[str, float] = {}
    for turn in range(arguments.rounds):
        drained = subprocess.run(
            [BARE, "drain", loaded.kafka.brokers, loaded.kafka.transactions_topic, str(count)],
            check=True,
            capture_output=True,
        )
        told = json.loads(drained.stdout)
        rounds["bare drain"].append(told["records"] / told["seconds"])
        own = bench.topics(f"turn{turn}")
        names = {
            f"{topic}_topic": getattr(loaded.kafka, f"{topic}_topic") for topic in ("transactions", "labels")
        }
        settings = own.model_copy(update={"kafka": own.kafka.model_copy(update=names)})
        with bench.stream(settings, databases=False) as (client, pid):
            measured = until(client, count, pid)
            by_stage = stages(page_of(client), count)
        rounds["stream"].append(measured["rate"])
        rounds["stream cpu us"].append(measured["cpu_us"])
        print({name: round(values[-1], 2) for name, values in rounds.items()}, file=sys.stderr)
    told = {name: statistics.median(values) for name, values in rounds.items()}
    result = {**told, "stream / drain": told["stream"] / told["bare drain"], "stages us": by_stage}
    if arguments.python:
        peer = bench.topics("json")
        bench.load(peer, tps=0, count=200_000, payload_format="json").wait(600)
        for name, publishes in (("python loop", False), ("python loop, decisions sent", True)):
            result[name] = python_loop(peer.kafka, 200_000, publishes=publishes)
            result[f"stream / {name}"] = told["stream"] / result[name]
    return result


def read(brokers: str, topic: str, first: int = 0) -> Iterator[Any]:
    """Yield the records of a single-partition topic from an offset on."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench", "enable.auto.commit": False})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    position = max(low, first)
    consumer.assign([TopicPartition(topic, 0, position)])
    try:
        while position < high:
            for record in consumer.consume(10_000, timeout=5.0):
                position = record.offset() + 1
                yield record
    finally:
        consumer.close()


def varint_fields(value: bytes, wanted: set[int]) -> dict[int, int]:
    """Return varint fields of a protobuf message, skipping all others: quicker than parsing everything."""
    found, at = {}, 0
    while at < len(value):
        key, at = _varint(value, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(value, at)
            if key >> 3 in wanted:
                found[key >> 3] = number
        elif kind == 2:
            length, at = _varint(value, at)
            at += length
        else:
            at += 4 if kind == 5 else 8
    return found


def _varint(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def percentiles(millis: list[float]) -> dict[str, float]:
    """Return the figures that latencies are told by, milliseconds."""
    values = np.percentile(millis, [50, 95, 99, 99.9])
    return dict(zip(("p50", "p95", "p99", "p99.9"), (round(float(each), 2) for each in values), strict=True))


WARM_SECONDS = 60
# Of each turn: a new stream and a new echo meet cold caches.
SETTLE_SECONDS = 10


def latency(bench: Bench) -> dict[str, Any]:
    """Stream and echo side by side at each rate."""
    arguments = bench.arguments
    result: dict[str, Any] = {}
    # The first turn is not counted: the broker's machine code is made in its first minute of load.
    for turn, tps in enumerate([max(arguments.tps), *arguments.tps]):
        seconds = arguments.seconds if turn else max(arguments.seconds, WARM_SECONDS)
        settings = bench.topics(f"rate{turn}")
        echo_topic = f"{settings.kafka.group}-echo"
        create_topics(settings.kafka.model_copy(update={"decisions_topic": echo_topic}))
        with bench.stream(settings, databases=arguments.databases) as (client, _):
            while client.status()["phase"] != "running":
                time.sleep(0.05)
            echo = subprocess.Popen(
                [
                    *(BARE, "echo", settings.kafka.brokers, settings.kafka.transactions_topic, echo_topic),
                    *(str(seconds + 15), str(settings.output.linger_ms)),
                ],
                stdout=subprocess.DEVNULL,
            )
            load = bench.load(settings, tps=tps, seconds=seconds)
            load.wait(seconds + 120)
            report = load.report()
            while (told := client.status())["lag"] != 0 or told["in_flight"]:
                time.sleep(0.1)
            echo.wait()
        ours, bare = [], []
        for record in read(settings.kafka.brokers, settings.kafka.decisions_topic):
            source = varint_fields(record.value(), {9}).get(9)
            if source:
                ours.append(record.timestamp()[1] - source / 1000)
        for record in read(settings.kafka.brokers, echo_topic):
            if len(record.value()) > 60:
                source = int.from_bytes(record.value()[:8], "little")
                bare.append(record.timestamp()[1] - source / 1000)
        if turn == 0:
            continue
        skip = int(tps * SETTLE_SECONDS)
        result[f"{int(tps)}/s"] = {
            "sent per second": round(report.rate),
            "append to decision, ms": percentiles(ours[skip:]),
            "echo, ms": percentiles(bare[skip:]),
            "records": len(ours),
        }
        print(result, file=sys.stderr)
    return result


def sustained(bench: Bench) -> dict[str, Any]:
    """Everything at once, then count."""
    arguments = bench.arguments
    settings = bench.topics("sustained")
    tps = arguments.tps[0]
    load = None
    if arguments.preload:
        load = bench.load(settings, tps=0, count=int(tps * arguments.seconds))
        load.wait(3_600)
    with bench.stream(settings, databases=True) as (client, pid):
        spent = bench.spent(pid)
        begin = time.perf_counter()
        if load is None:
            while client.status()["phase"] != "running":
                time.sleep(0.05)
            begin = time.perf_counter()
            load = bench.load(settings, tps=tps, seconds=arguments.seconds)
        while not load.wait(5.0):
            told = client.status()
            sinks = {name: sink["lag"] for name, sink in told["sinks"].items()}
            print(f"{load.report().rate:,.0f}/s sent, lag {told['lag']}, sinks {sinks}", file=sys.stderr)
        report = load.report()
        sent_seconds = time.perf_counter() - begin
        while (told := client.status())["delivered"] + told["dead_letters"] < report.transactions:
            time.sleep(0.1)
        decided_seconds = time.perf_counter() - begin
        while not (sinks := client.status()["sinks"]) or any(sink["lag"] for sink in sinks.values()):
            time.sleep(0.2)
        written_seconds = time.perf_counter() - begin
        told, costs = client.status(), spent.per_record(report.transactions)
    decided = in_log(BARE, settings.kafka.brokers, settings.kafka.decisions_topic, bench.folder)
    written = in_table(bench.stack.postgres_url)
    distinct = int((np.diff(decided) != 0).sum()) + 1
    return {
        "wanted per second": tps,
        "preloaded": arguments.preload,
        "sent per second": round(report.rate),
        "sent": report.transactions,
        "acknowledged by the broker": report.acked - report.labels,
        "decided": len(decided),
        "refused": told["dead_letters"],
        "decided twice": len(decided) - distinct,
        "seconds until sent": round(sent_seconds, 1),
        "seconds until decided": round(decided_seconds, 1),
        "seconds until written": round(written_seconds, 1),
        "decided per second": round(report.transactions / decided_seconds),
        "written per second": round(report.transactions / written_seconds),
        "rows in postgres": len(written),
        "rows equal the decisions": bool(np.array_equal(decided, written)),
        "processor us per transaction": costs,
        "processor us per transaction, all": round(sum(costs.values()), 2),
        "latency p50, p95, p99 at most, ms": [
            # None: beyond the histogram's last bound.
            (micros := told[f"latency_{name}_micros"]) and micros / 1000
            for name in ("p50", "p95", "p99")
        ],
    }


def main() -> None:
    """Run one job."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("job", choices=["throughput", "latency", "sustained"])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--count", type=int, default=3_000_000, help="transactions of the loaded topic")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tps", type=float, nargs="+", default=[20_000.0, 50_000.0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--labels",
        choices=["fraud", "all"],
        default="fraud",
        help="of what is reported, or of every transaction",
    )
    parser.add_argument("--preload", action="store_true", help="load the topic before the stream (sustained)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the stream")
    parser.add_argument("--databases", action="store_true", help="with PostgreSQL and Redis (latency)")
    parser.add_argument("--no-python", dest="python", action="store_false", help="leave the Python loop out")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    arguments = parser.parse_args()
    subprocess.run(
        [
            *("cargo", "build", "--quiet", "--release", "--locked"),
            "-p",
            "fraudengine-runtime",
            "--example",
            "bare",
        ],
        cwd=ROOT,
        check=True,
    )
    before = facts("xgboost-cpu", "confluent-kafka")
    with started(arguments) as bench:
        result = {"throughput": throughput, "latency": latency, "sustained": sustained}[arguments.job](bench)
    print(json.dumps(result, indent=2))
    asked = {name: value for name, value in vars(arguments).items() if name != "work"}
    save(f"stream_{arguments.job}", {"machine": before, "arguments": asked, **result})


if __name__ == "__main__":
    main()
