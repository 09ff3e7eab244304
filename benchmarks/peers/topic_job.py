"""The whole job: transactions of Kafka in, windows of the customer, the ensemble, decisions to Kafka.

Everybody reads the same JSON records and scores with the same isolation forest (100 trees) and booster (200
trees, which read the anomaly) over nine windows: peers with scikit-learn and XGBoost. The engine computes
all of its features beside them and writes complete decisions. Each runs alone and answers a first part of
the records, so that it is up and warm; then the rest arrives at once, and the processor time of the process
and its children is taken until the last decision is there. Every score is compared with the engine's. What
the broker spends is nobody's.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl
import xgboost
from confluent_kafka import Consumer, Producer, TopicPartition
from sklearn.ensemble import IsolationForest

from calls import tree_seconds
from environments import pins, python
from equality import check_equal
from fraudengine import config, features, services
from fraudengine.bundle import write_bundle
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.services.jars import Jar, fetch, fetched
from fraudengine.services.topics import create_topics
from fraudengine.training.export import export_ensemble, native_anomaly
from fraudengine.wire.log_pb2 import DecisionRecord
from machine import facts
from report import Run
from turns import ONE_THREAD, Figure, PeerError
from windows_python import COLUMNS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HERE = Path(__file__).parent
DAYS, COUNT, WARM = 60, 100_000, 2_000
OURS = "fraudengine, all 76 features"
WORDS = {
    "loop": "plain Python loop, deques",
    "bytewax": "Bytewax stateful_map",
    "quixstreams": "Quix Streams apply with state",
    "spark": "Spark transformWithStateInPandas, micro-batch",
    "flink": "PyFlink KeyedProcessFunction, pandas function",
}
AIMS = {"loop": 8.0, "bytewax": 20.0, "quixstreams": 20.0, "spark": 20.0, "flink": 20.0}
LEFT_OUT = {"Spark, real-time mode": "takes no stateful Python"}
FLINK_KAFKA = Jar(
    "org.apache.flink",
    "flink-sql-connector-kafka",
    "5.0.0-2.2",
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616",
)
TOLERANCE = 1e-5
SECONDS_MAX = 300
SLOW = {"quixstreams": 5_000}
"""Who answers only so many of the transactions: scored one by one, a row takes milliseconds."""


def prepare(folder: Path, count: int) -> list[tuple[str, str, bytes]]:
    """Write the bundle and the booster of the nine features; return id, customer and record of the events.

    In order of time, each time once, because peers do not tell ties apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    customers = max(100, round(count / DAYS / 0.76))
    shape = SyntheticConfig(
        customers=customers, merchants=max(50, customers // 5), days=DAYS, fraud_rate=0.01
    )
    history = generate(shape).unique("event_time", keep="first", maintain_order=True).head(count + WARM)
    matrix = features.build(history)
    used = [matrix.names.index(name) for name in COLUMNS]
    # As wide as the engine's rows, and empty but for the nine: nothing else can be learned from.
    wide = np.full_like(matrix.values, np.nan)
    wide[:, used] = matrix.values[:, used]
    fill = np.zeros(wide.shape[1], np.float32)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=0).fit(np.nan_to_num(wide))
    anomaly = native_anomaly(forest, fill, wide)
    labels = history["is_fraud"].fill_null(0).to_numpy()
    options = {"objective": "binary:logistic", "max_depth": 6, "tree_method": "hist", "nthread": 1}
    ours, theirs = (
        xgboost.train(options, xgboost.DMatrix(np.column_stack([rows, anomaly]), labels), 200)
        for rows in (wide, wide[:, used])
    )
    check_equal(
        "the booster of ten columns",
        ours.inplace_predict(np.column_stack([wide, anomaly])),
        theirs.inplace_predict(np.column_stack([wide[:, used], anomaly])),
        tolerance=1e-7,
    )
    theirs.save_model(folder / "booster.json")
    (folder / "forest.pickle").write_bytes(pickle.dumps((forest, used)))
    ensemble = export_ensemble(ours, forest, fill, wide.shape[1])
    policy = {"slope": 1.0, "intercept": 0.0, "review_from": 0.5, "block_from": 0.9, "stage": "booster"}
    files = {"ensemble.bin": ensemble, "policy.json": json.dumps(policy).encode(), "golden.parquet": b""}
    write_bundle(folder / "bundle", files, {"catalogue_hash": features.catalogue_hash()}, replace=True)
    rows = history.select(
        "transaction_id",
        "customer_id",
        "merchant_id",
        "amount_minor",
        "currency",
        event_time=pl.col("event_time").dt.epoch("us"),
    )
    return [
        (row["transaction_id"], row["customer_id"], orjson.dumps(row)) for row in rows.iter_rows(named=True)
    ]


class Broker:
    """A broker of its own, and what the driver does with it."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        # Idempotent, or a batch that is sent again would come behind later ones.
        self.producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "enable.idempotence": True})

    def send(self, topic: str, records: list[tuple[str, str, bytes]]) -> None:
        """Send records, keyed by customer."""
        for at, (_, customer, record) in enumerate(records):
            self.producer.produce(topic, record, customer)
            if at % 1_000 == 0:
                self.producer.poll(0)
        self.producer.flush(60)

    def answers(self, topic: str, process: subprocess.Popen[Any]) -> Iterator[bytes]:
        """Yield what is in a topic of one partition, and what comes, until the process has ended."""
        consumer = Consumer(
            {"bootstrap.servers": self.brokers, "group.id": "driver", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        until = time.monotonic() + SECONDS_MAX
        try:
            while process.poll() is None and time.monotonic() < until:
                for record in consumer.consume(10_000, timeout=0.1):
                    yield record.value() or b""
        finally:
            consumer.close()


def scored(value: bytes) -> tuple[str, float]:
    """Return the id and the score of a decision, ours or a peer's; ours also has records without an id."""
    if value[:1] == b"{":
        told = orjson.loads(value)
        return told["transaction_id"], told["score"]
    record = DecisionRecord.FromString(value)
    return record.transaction.transaction_id, record.score


def collect(answers: Iterator[bytes], found: dict[str, float], count: int) -> None:
    """Take scores until there are so many."""
    for key, score in map(scored, answers):
        if key:
            found[key] = score
        if len(found) == count:
            return
    raise PeerError(f"{len(found)} of {count} decisions")


def command(
    name: str, settings: config.Settings, folder: Path, scratch: Path
) -> tuple[list[Any], dict[str, str]]:
    """Return the command of a contestant, and what it finds in its environment."""
    kafka = settings.kafka
    if name == "engine":
        own: dict[str, object] = {f"kafka.{key}": value for key, value in kafka if key != "client"}
        own |= {"state.folder": settings.state.folder, "postgres.enabled": False, "redis.enabled": False}
        own |= {"http.port": 0, "log.level": "warn", "engine.threads": 1}
        told = [part for key, value in own.items() for part in ("--set", f"{key}={value}")]
        start = "from fraudengine.cli import main; main()"
        return [sys.executable, "-c", start, "stream", folder / "bundle", *told], {}
    more: dict[str, str] = {}
    if name == "spark":
        # For its workers, which are processes of their own.
        more |= {"PYSPARK_PYTHON": str(python(name)), "PYTHONPATH": str(HERE)}
        more["SPARK_JARS"] = ",".join(map(str, fetched(print, what="spark")))
    if name == "flink":
        more["FLINK_JAR"] = str(fetch([FLINK_KAFKA], folder / "flink", "Flink's Kafka connector", print)[0])
    interpreter = Path(sys.executable) if name == "loop" else python(name)
    arguments = [kafka.brokers, kafka.transactions_topic, kafka.decisions_topic, folder, scratch]
    return [interpreter, HERE / "work_job.py", name, *arguments], more


@contextmanager
def running(command: list[Any], more: dict[str, str], log: Path) -> Iterator[subprocess.Popen[Any]]:
    """Run a contestant; end it and its children afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)), stdout=out, stderr=out, env={**os.environ, **ONE_THREAD, **more}
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def turn(
    name: str, broker: Broker, events: list[tuple[str, str, bytes]], folder: Path, scratch: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Let one contestant do the job once; return its figures and the score of each id."""
    flags: dict[str, object] = {
        f"kafka.{topic}_topic": f"{scratch.name}-{topic.replace('_', '-')}"
        for topic in ("transactions", "labels", "decisions", "alerts", "dead_letter")
    }
    flags |= {"kafka.brokers": broker.brokers, "kafka.group": scratch.name, "state.folder": scratch}
    # One partition, so that the order of time is the order of the records for everybody.
    flags |= {"kafka.transactions_format": "json", "kafka.partitions": 1}
    settings = config.load(flags=flags)
    create_topics(settings.kafka)
    topic = settings.kafka.transactions_topic
    log = folder / f"{name}.log"
    found: dict[str, float] = {}
    try:
        with running(*command(name, settings, folder, scratch), log) as process:
            answers = broker.answers(settings.kafka.decisions_topic, process)
            broker.send(topic, events[:WARM])
            collect(answers, found, WARM)
            wall, cpu = time.perf_counter(), tree_seconds(process.pid)
            broker.send(topic, events[WARM:])
            collect(answers, found, len(events))
            wall, cpu = time.perf_counter() - wall, tree_seconds(process.pid) - cpu
    except PeerError as error:
        raise PeerError(f"{name}: {error}, see {log}") from error
    return {"units": len(events) - WARM, "wall": wall, "cpu": cpu}, found


def measure(options: argparse.Namespace) -> Run | None:
    """Prepare, take turns, compare every score of every turn."""
    folder = options.work / "job"
    count = options.count or COUNT
    events = prepare(folder, count)
    machine = facts("xgboost-cpu", "confluent-kafka")
    names = [name for name in WORDS if not options.only or name in options.only]
    for name in names:
        if name != "loop":
            python(name)
    if options.prepare:
        return None
    told: dict[str, list[dict[str, float]]] = {}
    apart: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="fraudengine-peers-") as place:
        embedded = config.load(flags={"embedded.folder": Path(place) / "services"}).embedded
        broker = Broker(services.up(embedded, only=["kafka"]).kafka_brokers)
        try:
            for number in range(options.rounds):
                base: dict[str, float] = {}
                for name in ("engine", *names):
                    scratch = Path(place) / f"{name}-{number}"
                    scratch.mkdir()
                    mine = events[: WARM + SLOW.get(name, count)]
                    figures, found = turn(name, broker, mine, folder, scratch)
                    told.setdefault(name, []).append(figures)
                    if name == "engine":
                        base = found
                        continue
                    ours, theirs = ([scores[key] for key, *_ in mine] for scores in (base, found))
                    apart[name] = check_equal(f"{name}, score", ours, theirs, tolerance=TOLERANCE)
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        finally:
            services.down(embedded.folder)
    case = f"{count:,} transactions"
    figures_of = {
        name: Figure.of(case, OURS if name == "engine" else WORDS[name], each) for name, each in told.items()
    }
    base_cpu = figures_of["engine"].cpu_us
    aims = [
        (f"processor time, {WORDS[name]}", AIMS[name], figures_of[name].cpu_us / base_cpu) for name in names
    ]
    versions = {
        name: {package: pins(name)[package] for package in (PACKAGES.get(name, name), "xgboost-cpu")}
        for name in names
        if name != "loop"
    }
    equal = [
        f"{name}, every score of {WARM + SLOW.get(name, count):,}: at most {each:.1e} apart"
        for name, each in apart.items()
    ]
    text = f"python benchmarks/peers/run.py job --rounds {options.rounds}"
    return Run(
        "job",
        text,
        "transaction",
        options.rounds,
        machine,
        versions,
        list(figures_of.values()),
        equal,
        LEFT_OUT,
        [
            "Nobody is stopped from batching; wall time includes the sending of the records by the driver on "
            "the same cores.",
            "Quix Streams hands rows over one by one and scores them so; it takes "
            f"{SLOW['quixstreams']:,} of them.",
        ],
        aims,
    )


PACKAGES = {"spark": "pyspark", "flink": "apache-flink"}
