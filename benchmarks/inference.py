"""Side by side: the engine's scorer against XGBoost, scikit-learn and a tl2cgen library, in one run.

    python benchmarks/inference.py [--features 60] [--samples 256] [--rounds 7]

One trained ensemble (200 trees of depth 6, 100 isolation trees), 20,000 distinct rows with 15% missing
values, one thread. The contestants take turns and medians of the rounds are compared, because absolute
times on a shared machine do not repeat. Calls go through Python on every side; single rows of the engine
therefore include about a microsecond of call overhead. `--compile` adds the tl2cgen library (minutes of C
compiler time).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import treelite
import xgboost as xgb
from sklearn.ensemble import IsolationForest

from fraudengine._native import Ensemble
from fraudengine.training.compile import compile_ensemble
from fraudengine.training.export import export_ensemble, native_anomaly

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Rows = npt.NDArray[np.float32]
    Run = Callable[[], float]

ROWS = 20_000
BATCH = 10_000
SINGLES = 300
BASE = "engine both, auto, batch 64"


def rows_and_labels(features: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return synthetic rows, shape (60000, features), and labels that depend on some of the columns."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(60_000, features)).astype(np.float32)
    rows[random.random(rows.shape) < 0.15] = np.nan
    known = np.nan_to_num(rows)
    risk = known[:, 0] * known[:, 1] + known[:, 2] + np.sin(3.0 * known[:, 3])
    risk += 0.1 * (known[:, 4:20] ** 2).sum(axis=1) + random.normal(size=len(rows)) * 0.8
    return rows, (risk > 3.0).astype(np.int64)


@dataclass(frozen=True)
class Models:
    """A trained booster and forest with the rows they score."""

    booster: xgb.Booster
    forest: IsolationForest
    fill: npt.NDArray[np.float32]
    rows: Rows
    """As the engine reads them: NaN is missing."""
    both: Rows
    """With the anomaly as last column, as the booster reads them."""
    filled: Rows
    """Without missing values, as scikit-learn reads them."""


def train(features: int, samples: int) -> Models:
    """Train 200 trees of depth 6 and 100 isolation trees on random rows."""
    rows, fraud = rows_and_labels(features)
    fill = np.nanmedian(rows, axis=0).astype(np.float32)
    filled = np.where(np.isnan(rows), fill, rows)
    forest = IsolationForest(n_estimators=100, max_samples=samples, random_state=0).fit(filled)
    both = np.column_stack([rows, native_anomaly(forest, fill, rows)])
    settings = {
        "objective": "binary:logistic",
        "max_depth": 6,
        "tree_method": "hist",
        "eta": 0.1,
        "nthread": 1,
    }
    booster = xgb.train(settings, xgb.DMatrix(both, fraud), 200)
    booster.set_param({"nthread": 1})
    return Models(booster, forest, fill, rows[:ROWS], both[:ROWS], filled[:ROWS])


def batches(score: Callable[[Rows], object], values: Rows, size: int, count: int = ROWS) -> Run:
    """Return a run that scores `count` rows in pieces of `size` and returns microseconds per row."""

    def run() -> float:
        begin = time.perf_counter()
        for at in range(0, count, size):
            score(values[at : at + size])
        return (time.perf_counter() - begin) / count * 1e6

    return run


def contestants(models: Models, ensemble: Ensemble, features: int) -> dict[str, Run]:
    """Return what is compared, by name."""
    booster, forest = models.booster, models.forest
    booster_only = Ensemble(export_ensemble(booster, None, models.fill, features + 1))
    forest_only = Ensemble(export_ensemble(None, forest, models.fill, features))
    runs = {
        f"engine both, {name}, batch {BATCH}": batches(
            partial(ensemble.score, backend=name), models.rows, BATCH
        )
        for name in ensemble.backends()
    }
    return runs | {
        BASE: batches(ensemble.score, models.rows, 64),
        "engine both, auto, 1 row": batches(ensemble.score, models.rows, 1),
        f"engine booster, batch {BATCH}": batches(booster_only.score, models.both, BATCH),
        f"engine forest, batch {BATCH}": batches(forest_only.score, models.rows, BATCH),
        f"xgboost inplace_predict, batch {BATCH}": batches(booster.inplace_predict, models.both, BATCH),
        "xgboost inplace_predict, 1 row": batches(booster.inplace_predict, models.both, 1, SINGLES),
        f"sklearn score_samples, batch {BATCH}": batches(forest.score_samples, models.filled, BATCH),
    }


def compiled(models: Models, ensemble: Ensemble) -> Run:
    """Compile both models with tl2cgen and return a run that scores with the libraries, row by row."""
    info = compile_ensemble(
        treelite.frontend.from_xgboost(models.booster).serialize_bytes(),
        treelite.sklearn.import_model(models.forest).serialize_bytes(),
        tempfile.mkdtemp(),
    )
    ensemble.load_compiled(
        info.booster.path if info.booster else None, info.forest.path if info.forest else None
    )
    return batches(partial(ensemble.score, backend="compiled"), models.rows, BATCH)


def main() -> None:
    """Train, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()

    models = train(options.features, options.samples)
    data = export_ensemble(models.booster, models.forest, models.fill, options.features)
    begin = time.perf_counter()
    ensemble = Ensemble(data)
    milliseconds = (time.perf_counter() - begin) * 1e3
    print(f"load {milliseconds:.1f} ms, {len(data)} bytes, load average {os.getloadavg()[0]:.2f}")
    runs = contestants(models, ensemble, options.features)
    if options.compile:
        runs["tl2cgen both, row by row"] = compiled(models, ensemble)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(run())
    base = statistics.median(times[BASE])
    print(f"{'us per row, median of ' + str(options.rounds):52} {'us':>9} {'ratio':>9}")
    for name, values in times.items():
        print(f"{name:52} {statistics.median(values):9.3f} {statistics.median(values) / base:9.2f}")
    print(f"load average {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
