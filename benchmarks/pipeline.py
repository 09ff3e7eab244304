"""Transactions per second of the whole engine on one core, stage by stage, and the state it keeps.

    python benchmarks/pipeline.py [--customers 10000 100000] [--rounds 5]

A month of synthetic history brings every window to its steady state; the following days are timed, from
Arrow columns to decisions, without a model and with an ensemble of 200 trees of depth 6 and 100 isolation
trees trained on the same history. Stages are differences of runs. A regression here means that a
transaction touches more memory or that a kernel has fallen back to a slower one.
"""

from __future__ import annotations

import argparse
from statistics import median

import numpy as np
import polars as pl
import xgboost as xgb
from sklearn.ensemble import IsolationForest

from fraudengine import features
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.engine import Engine
from fraudengine.training.export import export_ensemble, native_anomaly
from machine import facts, processor_seconds, save, seconds

WARM_DAYS = 31
ROWS_TIMED = 400_000


def train(history: pl.DataFrame) -> bytes:
    """Train 200 trees and a forest of 100 on a part of the history; return `ensemble.bin`."""
    part = history.head(300_000)
    rows = features.build(part).values
    with np.errstate(all="ignore"):
        fill = np.nan_to_num(np.where(np.isnan(rows), 0, rows).mean(axis=0)).astype(np.float32)
    filled = np.where(np.isnan(rows), fill, rows)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=0).fit(filled)
    both = np.column_stack([rows, native_anomaly(forest, fill, rows)])
    settings = {"objective": "binary:logistic", "max_depth": 6, "tree_method": "hist", "eta": 0.1}
    booster = xgb.train(settings, xgb.DMatrix(both, part["is_fraud"].to_numpy()), 200)
    return export_ensemble(booster, forest, fill, rows.shape[1])


def measure(customers: int, rounds: int) -> dict[str, float]:
    """Return the rates of one population."""
    per_day = customers * 0.76
    days = WARM_DAYS + 1 + int(ROWS_TIMED * rounds / per_day)
    config = SyntheticConfig(customers=customers, merchants=max(50, customers // 5), days=days)
    history = generate(config)
    warm = int(WARM_DAYS * per_day)
    ensemble = train(history)
    result: dict[str, float] = {"customers": customers}
    for name, threads, model in (("features", 1, False), ("decisions", 1, True), ("two_threads", 2, True)):
        engine = Engine(threads=threads)
        if model:
            engine.activate(
                {
                    "ensemble": ensemble,
                    "slope": 1.0,
                    "intercept": 0.0,
                    "review_from": 0.5,
                    "block_from": 0.9,
                }
            )
        engine.process(history[:warm])
        # One thread: processor time, so that a busy machine does not decide. Two save wall time.
        clock = processor_seconds if threads == 1 else seconds
        times = []
        for part in range(rounds):
            rows = history[warm + part * ROWS_TIMED : warm + (part + 1) * ROWS_TIMED].rechunk()
            times.append(clock(lambda engine=engine, rows=rows: engine.process(rows)) / rows.height)  # type: ignore[misc]  # bound on purpose
        result[f"{name}_per_second"] = 1 / median(times)
    stats = engine.stats()
    table = stats["tables"]["customer"]
    result["customer_bytes"] = table["bytes"] / table["entities"]
    result["all_bytes_per_customer"] = sum(t["bytes"] for t in stats["tables"].values()) / table["entities"]
    return result


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    machine = facts("numpy", "polars", "xgboost-cpu", "scikit-learn")
    results = [measure(customers, options.rounds) for customers in options.customers]
    for result in results:
        for name, value in result.items():
            print(f"{name:26} {value:12,.0f}")
        one, all_stages = 1e6 / result["features_per_second"], 1e6 / result["decisions_per_second"]
        print(f"{'us: decode and features':26} {one:12.2f}")
        print(f"{'us: score and decide':26} {all_stages - one:12.2f}\n")
    save("pipeline", {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
