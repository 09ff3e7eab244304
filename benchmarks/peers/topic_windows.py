"""Windows: counts, sums, mean and distinct merchants of each customer, for every transaction.

Nine features of the engine's catalogue, over 1 hour, 24 hours and 7 days. The engine computes all of its
features while the peers compute these nine (river six: its distinct count cannot forget; Flink seven: its
windows in batch mode count nothing distinct). Each column is compared with the engine's before anything is
timed. One thread on every side; Spark and Flink have those of their JVM besides.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from environments import python, versions
from equality import check_equal
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from machine import facts
from report import Run
from turns import Contestant, take_turns

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).parent
DAYS, COUNT = 60, 100_000
WORDS = {
    "bytewax": "Bytewax stateful_map",
    "river": "river TimeRolling, 6 of 9 features",
    "polars": "polars rolling",
    "pandas": "pandas rolling",
    "spark": "Spark SQL windows, a table in memory",
    "flink": "Flink SQL windows, batch mode, 7 of 9 features",
}
LEFT_OUT = {"Quix Streams": "reads from Kafka only: see the whole job"}
TOLERANCE = 1e-4
"""The engine's features are float32, and running sums of floats drift a little."""


def events(count: int, *, fraud_rate: float = 0.005) -> pl.DataFrame:
    """Return a history in order of time, each time once, because peers do not tell ties apart."""
    customers = max(100, round(count / DAYS / 0.76))
    merchants = max(50, customers // 5)
    shape = SyntheticConfig(customers=customers, merchants=merchants, days=DAYS, fraud_rate=fraud_rate)
    return generate(shape).unique("event_time", keep="first", maintain_order=True).head(count)


def prepare(folder: Path, count: int) -> None:
    """Write the events."""
    folder.mkdir(parents=True, exist_ok=True)
    history = events(count)
    history.with_columns(
        amount=pl.col("amount_minor") / 100, micros=pl.col("event_time").dt.epoch("us")
    ).write_parquet(folder / "events.parquet")


def compare(engine: dict[str, np.ndarray], peer: Contestant) -> str:
    """Compare every column of a peer with the engine's; return words for the report."""
    theirs = np.load(peer.call("results"))
    apart = max(
        check_equal(f"{peer.name}, {name}", engine[name], theirs[name], tolerance=TOLERANCE)
        for name in theirs.files
    )
    return f"{peer.name}, {len(theirs.files)} columns: at most {apart:.1e} apart"


def measure(options: argparse.Namespace) -> Run | None:
    """Prepare, compare, take turns."""
    folder = options.work / "windows"
    count = options.count or COUNT
    prepare(folder, count)
    machine = facts("polars", "numpy")
    worker = str(HERE / "work_windows.py")
    own = {"fraudengine, all 76 features": "engine", "plain Python loop, deques": "loop"}
    started = [
        Contestant(words, Path(sys.executable), worker, name, str(folder)) for words, name in own.items()
    ]
    peers = [peer for peer in WORDS if not options.only or peer in options.only]
    started += [Contestant(WORDS[name], python(name), worker, name, str(folder)) for name in peers]
    try:
        engine, *others = [each.ready() for each in started]
        columns = dict(np.load(engine.call("results")))
        equal = [compare(columns, other) for other in others]
        if options.prepare:
            print(equal)
            return None
        figures = take_turns({f"{count:,} transactions": [(each, {}) for each in started]}, options.rounds)
    finally:
        for each in started:
            each.close()
    ran = {name: versions(name, "numpy") for name in peers}
    command = f"python benchmarks/peers/run.py windows --rounds {options.rounds}"
    return Run("windows", command, "transaction", options.rounds, machine, ran, figures, equal, LEFT_OUT)
