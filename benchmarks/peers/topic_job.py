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
import pickle
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import polars as pl
import xgboost
from sklearn.ensemble import IsolationForest

import programs
from environments import python, versions
from equality import check_equal
from fraudengine import config, features, services
from fraudengine.bundle import write_bundle
from fraudengine.services.jars import Jar, fetch, fetched
from fraudengine.training.export import export_ensemble, native_anomaly
from job_turn import WARM, Broker, turn
from machine import facts
from report import Run
from topic_windows import events
from turns import Figure
from windows_python import COLUMNS

if TYPE_CHECKING:
    import argparse

    from job_turn import Command

HERE = Path(__file__).parent
COUNT = 400_000
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
SLOW = {"quixstreams": 5_000, "spark": 100_000, "flink": 100_000}
"""Who answers only the first so many of the transactions, because a turn would take minutes."""


def answered(name: str, count: int) -> int:
    """Return how many records a contestant answers, the first ones included."""
    return WARM + min(SLOW.get(name, count), count)


def prepare(folder: Path, count: int) -> list[tuple[str, str, bytes]]:
    """Write the bundle and the booster of the nine features; return id, customer and record of the events."""
    folder.mkdir(parents=True, exist_ok=True)
    history = events(count + WARM, fraud_rate=0.01)
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


def command(name: str, folder: Path, scratch: Path, settings: config.Settings) -> Command:
    """Return the command of a contestant, and what it finds in its environment."""
    kafka = settings.kafka
    if name == "engine":
        return programs.command("stream", folder / "bundle", flags=programs.stream_flags(settings)), {}
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


def play(
    names: list[str], records: list[tuple[str, str, bytes]], folder: Path, rounds: int, count: int
) -> tuple[dict[str, list[dict[str, float]]], dict[str, float]]:
    """Return the figures of every turn by contestant, and how far its scores were from the engine's."""
    told: dict[str, list[dict[str, float]]] = {}
    apart: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="fraudengine-peers-") as place:
        embedded = config.load(flags={"embedded.folder": Path(place) / "services"}).embedded
        broker = Broker(services.up(embedded, only=["kafka"]).kafka_brokers)
        try:
            for number in range(rounds):
                base: dict[str, float] = {}
                for name in ("engine", *names):
                    scratch = Path(place) / f"{name}-{number}"
                    scratch.mkdir()
                    mine = records[: answered(name, count)]
                    how = partial(command, name, folder, scratch)
                    figures, found = turn(broker, mine, folder / f"{name}.log", scratch, how)
                    told.setdefault(name, []).append(figures)
                    base = base or found
                    ours, theirs = ([scores[key] for key, *_ in mine] for scores in (base, found))
                    apart[name] = check_equal(f"{name}, score", ours, theirs, tolerance=TOLERANCE)
                print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        finally:
            services.down(embedded.folder)
    del apart["engine"]
    return told, apart


def measure(options: argparse.Namespace) -> Run | None:
    """Prepare, take turns, compare every score of every turn."""
    folder = options.work / "job"
    count = options.count or COUNT
    records = prepare(folder, count)
    machine = facts("xgboost-cpu", "confluent-kafka")
    names = [name for name in WORDS if not options.only or name in options.only]
    for name in names:
        if name != "loop":
            python(name)
    if options.prepare:
        return None
    told, apart = play(names, records, folder, options.rounds, count)
    case = f"{count:,} transactions"
    figures_of = {
        name: Figure.of(case, OURS if name == "engine" else WORDS[name], each) for name, each in told.items()
    }
    base_cpu = figures_of["engine"].cpu_us
    aims = [
        (f"processor time, {WORDS[name]}", AIMS[name], figures_of[name].cpu_us / base_cpu) for name in names
    ]
    equal = [
        f"{name}, every score of {answered(name, count):,}: at most {each:.1e} apart"
        for name, each in apart.items()
    ]
    first_part = [f"{WORDS[name]} {number:,}" for name, number in SLOW.items() if name in names]
    text = f"python benchmarks/peers/run.py job --rounds {options.rounds}"
    return Run(
        "job",
        text,
        "transaction",
        options.rounds,
        machine,
        {name: versions(name, "xgboost-cpu") for name in names if name != "loop"},
        list(figures_of.values()),
        equal,
        LEFT_OUT,
        [
            "Nobody is stopped from batching; wall time includes the sending of the records by the driver on "
            "the same cores.",
            "Quix Streams hands rows over one by one and scores them so.",
            *([f"The slowest answer the first part only: {', '.join(first_part)}."] if first_part else []),
        ],
        aims,
    )
