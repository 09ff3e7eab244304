"""Everything the report says, measured: figures per window, curves, tables per typology and feature.

All of it is a function of data, recipe and seed: no clock, no machine, so that the report does not change
the bundle hash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine import features
from fraudengine.drift import population_stability
from fraudengine.training import evaluate, metrics, xgboost_stage

if TYPE_CHECKING:
    from fraudengine.training.models import Models
    from fraudengine.training.options import TrainOptions
    from fraudengine.training.policy import Policy
    from fraudengine.training.split import Split

__all__ = ["Scored", "measure", "scored_rows"]

Scored = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Anomaly and margin, row by row."""

_CURVE_POINTS: Final = 200
_BINS: Final = 40
_SAMPLE_ROWS: Final = 50_000
_RELIABILITY_ROWS_MIN: Final = 10


def scored_rows(
    history: pl.DataFrame, rows: npt.NDArray[np.int64], scored: Scored, policy: Policy
) -> pl.DataFrame:
    """Return the labelled ones of some rows with `score`, `rank`, `action`, as `evaluate.figures` needs.

    `scored` holds anomaly and margin of exactly these rows.
    """
    score, rank = policy.score(*scored), policy.rank(*scored)
    return (
        history[rows]
        .with_columns(
            score=pl.Series(score),
            rank=pl.Series(rank, dtype=pl.Float64),
            action=pl.Series(policy.actions(score)),
        )
        .filter(pl.col("is_fraud").is_not_null())
    )


def measure(
    history: pl.DataFrame,
    values: npt.NDArray[np.float32],
    windows: Split,
    models: Models,
    policy: Policy,
    held_out: Scored | None,
    options: TrainOptions,
) -> dict[str, Any]:
    """Measure a trained model.

    Parameters
    ----------
    history, values
        Labelled history and its features, row by row.
    windows, models, policy, options
        What was trained, on what, how.
    held_out
        First-round anomalies and margins of the validation window; `None` without labels.

    Returns
    -------
    dict
        `figures` by window name, `curves`, `typologies`, `features`: JSON values.

    """
    frames: dict[str, pl.DataFrame] = {}
    if held_out is not None:
        frames["validation"] = scored_rows(history, windows.validation, held_out, policy)
    if windows.test.size:
        test = scored_rows(history, windows.test, models.score(values[windows.test]), policy)
        frames["test"] = test
        start = datetime.fromtimestamp(windows.train_until_micros / 1e6, UTC)
        counted = evaluate.handbook_rows(history, start).to_numpy()[windows.test]
        labelled = history["is_fraud"].is_not_null().to_numpy()[windows.test]
        frames["test_new_customers"] = test.filter(pl.Series(counted[labelled]))
    frames = {name: frame for name, frame in frames.items() if _has_both(frame)}
    figures = {
        name: evaluate.figures(frame, fpr=options.review_fpr, seed=options.seed)
        for name, frame in frames.items()
    }
    shown = next((name for name in ("test", "validation") if name in frames), None)
    return {
        "figures": figures,
        "shown": shown,
        "curves": _curves(frames[shown]) if shown else None,
        "typologies": _typologies(frames[shown], options.review_fpr) if shown else [],
        "features": _feature_table(values, windows, models),
    }


def _has_both(frame: pl.DataFrame) -> bool:
    return frame.height > 0 and 0 < int(frame["is_fraud"].sum()) < frame.height


def _typologies(frame: pl.DataFrame, fpr: float) -> list[dict[str, Any]]:
    points = metrics.curve(frame["is_fraud"].to_numpy(), frame["rank"].to_numpy())
    return evaluate.typologies(frame, metrics.threshold_at_fpr(points, fpr))


def _curves(frame: pl.DataFrame) -> dict[str, Any]:
    """Return thinned curves and histograms for the plots."""
    fraud, score = (
        frame["is_fraud"].to_numpy().astype(np.float64),
        frame["score"].to_numpy().astype(np.float64),
    )
    points = metrics.curve(fraud, frame["rank"].to_numpy())
    # Evenly spaced in recall and in false positive rate: steps of either are then equally visible.
    by_recall = np.searchsorted(points.recall, np.linspace(0, 1, _CURVE_POINTS))
    by_fpr = np.searchsorted(points.fpr, np.linspace(0, 1, _CURVE_POINTS) ** 2)
    kept = np.unique(np.clip(np.concatenate([by_recall, by_fpr]), 0, points.recall.size - 1))
    edges = np.linspace(0, 1, _BINS + 1)
    return {
        "recall": _rounded(points.recall[kept]),
        "fpr": _rounded(points.fpr[kept]),
        "precision": _rounded(points.precision[kept]),
        "base_rate": float(fraud.mean()),
        "histogram": {
            "edges": _rounded(edges),
            "genuine": np.histogram(score[fraud == 0], edges)[0].tolist(),
            "fraud": np.histogram(score[fraud == 1], edges)[0].tolist(),
        },
        "calibration": _reliability(fraud, score),
    }


def _reliability(fraud: npt.NDArray[np.float64], score: npt.NDArray[np.float64]) -> list[dict[str, float]]:
    """Return mean score and share of frauds of each tenth of the score range that is not nearly empty."""
    tenth = np.minimum((score * 10).astype(np.int64), 9)
    groups = (np.flatnonzero(tenth == each) for each in range(10))
    return [
        {"stated": round(float(score[rows].mean()), 6), "observed": round(float(fraud[rows].mean()), 6)}
        for rows in groups
        if rows.size >= _RELIABILITY_ROWS_MIN
    ]


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _feature_table(values: npt.NDArray[np.float32], windows: Split, models: Models) -> list[dict[str, Any]]:
    """Return one row per feature, the most useful first."""
    weights = xgboost_stage.importance(models.booster) if models.booster is not None else {}
    before = values[_thinned(windows.final)]
    after = values[_thinned(windows.test)] if windows.test.size else None
    table = []
    for column, feature in enumerate(features.catalogue().iter_rows(named=True)):
        used = weights.get(feature["name"], {"gain": 0.0, "cover": 0.0})
        row = {
            **{key: feature[key] for key in ("name", "entity", "group", "window", "unit", "meaning")},
            "gain": used["gain"],
            "cover": used["cover"],
            "missing_train": float(np.isnan(before[:, column]).mean()),
            "missing_test": None if after is None else float(np.isnan(after[:, column]).mean()),
            "psi": None if after is None else population_stability(before[:, column], after[:, column]),
        }
        table.append(row)
    anomaly = weights.get("anomaly_score", {"gain": 0.0, "cover": 0.0})
    table.append(
        {
            "name": "anomaly_score", "entity": "model", "group": "anomaly", "window": "-", "unit": "0 to 1",
            "meaning": "Anomaly of the isolation forest.", **anomaly,
            "missing_train": 0.0, "missing_test": None if after is None else 0.0, "psi": None,
        }
    )  # fmt: skip
    return sorted(table, key=lambda row: (-row["gain"], row["name"]))


def _thinned(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return at most `_SAMPLE_ROWS` rows, evenly spread."""
    return rows[:: max(1, -(-rows.size // _SAMPLE_ROWS))]
