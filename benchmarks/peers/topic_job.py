"""The whole job: JSON transactions in Kafka, windows, ensemble, one record for each decision in Kafka.

One topic on a broker of its own, loaded before: the stream of the engine (all 76 features, 200 trees and 100
isolation trees, one thread, databases off) and the peers (nine features of the customer and a booster of 200
trees; no forest) take turns over it, with the broker on the same cores. The peers' scores are compared with
the same booster over the engine's own features before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl
import xgboost
from confluent_kafka import Consumer, TopicPartition

from environments import pins, python
from equality import check_equal
from fraudengine import features
from fraudengine.schema import polars_schema
from fraudengine.services.topics import create_topics
from machine import facts
from report import Run
from stream import ROOT, Bench, started, until
from turns import Contestant, take_turns
from windows_python import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraudengine.config import Settings

HERE = Path(__file__).parent
COUNT = 200_000
PEERS = {
    # Contestant, environment, words, share of the topic (one call of a booster for each message takes long).
    "loop": ("bytewax", "plain Python loop, batched XGBoost", 1.0),
    "bytewax": ("bytewax", "Bytewax, batched XGBoost", 1.0),
    "quixstreams": ("quixstreams", "Quix Streams, XGBoost by message", 0.1),
    "spark": ("spark", "Spark micro-batch, batched XGBoost", 1.0),
}
CONNECTOR = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"
LEFT_OUT = {
    "Spark real-time mode": "stateful Python functions do not run in it (4.2.0)",
    "Flink": "not run: PyFlink 2.3.0 installs, its Kafka connector is a separate jar for each Flink version",
}
SCORE_TOLERANCE = 1e-4
# Features are float32 in the engine: a rounding can fall on the other side of a split.
DIFFERING_SHARE_MAX = 1e-3


class Stream:
    """The engine's stream as a contestant: each turn is a process with an empty state and its own topics."""

    name = "fraudengine, 76 features, both models"

    def __init__(self, bench: Bench, loaded: Settings) -> None:
        self.bench, self.loaded, self.turns = bench, loaded, 0

    def call(self, _name: str, count: int) -> dict[str, float]:
        """Decide the whole topic; measured from a tenth of it to the end."""
        self.turns += 1
        own = self.bench.topics(f"turn{self.turns}")
        names = {
            f"{each}_topic": getattr(self.loaded.kafka, f"{each}_topic")
            for each in ("transactions", "labels")
        }
        settings = own.model_copy(update={"kafka": own.kafka.model_copy(update=names)})
        with self.bench.stream(settings, databases=False) as (client, pid):
            told = until(client, count, pid)
        return {"units": 1, "wall": 1 / told["rate"], "cpu": told["cpu_us"] / 1e6}


class Peer:
    """A peer as a contestant: each turn writes to a new topic."""

    def __init__(self, contestant: Contestant, kafka: Any, count: int) -> None:  # noqa: ANN401 - settings
        self.name, self._contestant, self._kafka, self.count = contestant.name, contestant, kafka, count
        self._turns = 0

    def call(self, _name: str, count: int = 0) -> dict[str, float]:
        """Score `count` records of the topic, or as many as a turn has."""
        self._turns += 1
        told: dict[str, float] = self._contestant.call("run", out=self.topic(), count=count or self.count)
        return told

    def topic(self) -> str:
        """Make and return the output topic of this turn."""
        topic = f"scores-{self._contestant.pid}-{self._turns}"
        create_topics(self._kafka.model_copy(update={"decisions_topic": topic}))
        return topic


def records(brokers: str, topic: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON records of a topic, partition by partition."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "check", "enable.auto.commit": False})
    try:
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            consumer.assign([TopicPartition(topic, partition, 0)])
            seen = 0
            while seen < high:
                for record in consumer.consume(10_000, timeout=5.0):
                    seen = record.offset() + 1
                    yield orjson.loads(record.value())
    finally:
        consumer.close()


def expected(kafka: Any, folder: Path) -> dict[str, float]:  # noqa: ANN401 - settings
    """Train the peers' booster over the engine's features of the topic; return scores by transaction."""
    # Windows are by customer and a customer is in one partition, in order: partitions may follow one another.
    found = list(records(kafka.brokers, kafka.transactions_topic))
    frame = pl.DataFrame(found, infer_schema_length=None)
    frame = frame.with_columns(pl.from_epoch("event_time", "us").dt.replace_time_zone("UTC"))
    frame = frame.cast({name: kind for name, kind in polars_schema().items() if name in frame.columns})
    frame = frame.sort("event_time", maintain_order=True)
    matrix = features.build(frame)
    rows = np.ascontiguousarray(matrix.values[:, [matrix.names.index(name) for name in COLUMNS]])
    known = np.nan_to_num(rows)
    noise = np.random.default_rng(1).normal(size=len(rows))
    labels = np.log1p(known[:, 3]) * np.log1p(known[:, 6]) + known[:, 8] * 0.3 + noise > 3
    settings = {"max_depth": 6, "tree_method": "hist", "nthread": 1, "objective": "binary:logistic"}
    booster = xgboost.train(settings, xgboost.DMatrix(rows, labels), 200)
    booster.save_model(folder / "booster.ubj")
    return dict(zip(frame["transaction_id"], booster.inplace_predict(rows).tolist(), strict=True))


def compare(peer: Peer, wanted: dict[str, float], brokers: str) -> str:
    """Let a peer score once and compare; return words for the report."""
    peer.call("run")
    topic = f"scores-{peer._contestant.pid}-{peer._turns}"
    told = {each["transaction_id"]: each["score"] for each in records(brokers, topic)}
    ours = [wanted[name] for name in told]
    if len(told) < peer.count:
        raise SystemExit(f"{peer.name} scored {len(told)} of {peer.count} transactions")
    allowed = round(len(ours) * DIFFERING_SHARE_MAX)
    check_equal(peer.name, ours, list(told.values()), tolerance=SCORE_TOLERANCE, differing_max=allowed)
    apart = int((np.abs(np.array(ours) - np.array(list(told.values()))) > SCORE_TOLERANCE).sum())
    return f"{peer.name}: {apart} of {len(ours)} scores differ by more than {SCORE_TOLERANCE:g}"


def measure(options: argparse.Namespace) -> Run | None:
    """Load a topic, compare, take turns."""
    folder = options.work / "job"
    folder.mkdir(parents=True, exist_ok=True)
    count = options.count or COUNT
    chosen = {name: each for name, each in PEERS.items() if not options.only or name in options.only}
    interpreters = {name: python(environment) for name, (environment, _, _) in chosen.items()}
    machine = facts("xgboost-cpu", "confluent-kafka")
    asked = argparse.Namespace(
        customers=10_000, threads=1, labels="fraud", set=[], work=ROOT / "build" / "benchmark"
    )
    everybody: list[Contestant] = []
    with started(asked) as bench:
        loaded = bench.topics("loaded")
        bench.load(loaded, tps=0, count=count, payload_format="json").wait(300)
        wanted = expected(loaded.kafka, folder)
        told = (str(folder), loaded.kafka.brokers, loaded.kafka.transactions_topic)
        try:
            peers = []
            for name, (_, words, share) in chosen.items():
                command = [str(HERE / "work_job.py"), name, *told]
                if name == "spark":
                    command = [str(HERE / "work_spark.py"), *told, options.spark_jars or CONNECTOR]
                # The Python workers of Spark import from this folder too.
                more = {"PYTHONPATH": str(HERE), "PYSPARK_PYTHON": str(interpreters[name])}
                worker = Contestant(words, interpreters[name], *command, more=more)
                everybody.append(worker.ready())
                peers.append(Peer(worker, loaded.kafka, round(count * share)))
            equal = [compare(peer, wanted, loaded.kafka.brokers) for peer in peers]
            print(equal, file=sys.stderr)
            stream = Stream(bench, loaded)
            turns = [(stream, {"count": count}), *((peer, {}) for peer in peers)]
            case = f"Kafka to Kafka, {count:,} JSON transactions"
            figures = take_turns({case: turns}, options.rounds)
        finally:
            for each in everybody:
                each.close()
    cpu = {each.contestant: each.cpu_us for each in figures}
    aims = [
        (
            f"transactions per processor second, {words}",
            8.0 if name == "loop" else 20.0,
            cpu[words] / cpu[stream.name],
        )
        for name, (_, words, _) in chosen.items()
    ]
    shown = ("bytewax", "quixstreams", "pyspark", "confluent-kafka", "xgboost-cpu", "orjson")
    versions = {
        name: {package: version for package, version in pins(environment).items() if package in shown}
        for name, (environment, _, _) in chosen.items()
    }
    command = f"python benchmarks/peers/run.py job --rounds {options.rounds} --count {count}"
    return Run(
        "job", command, "transaction", options.rounds, machine, versions, figures, equal, LEFT_OUT, [], aims
    )
