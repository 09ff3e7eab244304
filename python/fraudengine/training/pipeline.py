"""Training from end to end: a history goes in, a verified bundle comes out.

Two rounds. The first learns from what was known when the validation window began; its margins on that
window give calibration and thresholds. The second learns from everything known at the cut with the same
recipe and is kept. A history without frauds enough to learn from gives a forest-only bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine import features
from fraudengine.bundle import Bundle, write_bundle
from fraudengine.drift import DRIFT_FILE, HELD_OUT_FILE
from fraudengine.engine import Flag
from fraudengine.errors import BundleError
from fraudengine.training import artifacts, models, policy, reference, report, split
from fraudengine.training.golden import golden_rows
from fraudengine.training.measure import Scored, measure
from fraudengine.training.options import Progress, TrainOptions, silent

if TYPE_CHECKING:
    from fraudengine.datasets import History

__all__ = ["TrainResult", "train"]

DAY_MICROS = 86_400_000_000
_LIBRARIES = ("numpy", "polars", "scikit-learn", "treelite", "xgboost-cpu")


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Attributes
    ----------
    bundle
        The verified bundle.
    report
        What `report/report.json` holds: windows, figures, thresholds, tables.

    """

    bundle: Bundle
    report: dict[str, Any]


def train(
    history: History | pl.DataFrame,
    options: TrainOptions,
    out: str | Path,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> TrainResult:
    """Train a bundle.

    Parameters
    ----------
    history
        Canonical columns; labels in `is_fraud` and `label_known_time`.
    options
        The recipe.
    out
        Folder of the bundle.
    progress
        Called with stage, steps done, steps in all.
    replace
        Replace the bundle that is at `out`.

    Raises
    ------
    TrainingError
        The history cannot support a model.
    SchemaError
        A required column is missing or has a wrong type.
    BundleError
        `out` holds something else.

    """
    if Path(out).exists() and not replace:
        raise BundleError(f"{out} exists already")
    labelled = split.with_label_times(split.frame_of(history), options.label_delay)
    progress("features", 0, 1)
    matrix = features.build(labelled, threads=options.threads)
    progress("features", 1, 1)
    usable = (matrix.flags & (Flag.DUPLICATE | Flag.REJECTED)) == 0
    windows = split.make_split(labelled, usable, options)
    fraud = labelled["is_fraud"].fill_null(0).to_numpy().astype(np.int8)
    decided, held_out = None, None
    if windows.supervised:
        decided, held_out = _decide_policy(labelled, matrix, fraud, windows, options, progress)
    rows = windows.final
    labels = fraud[rows] if windows.supervised else None
    final = models.fit(matrix.values[rows], labels, matrix.names, options, progress, "booster")
    if decided is None:
        decided = policy.cold(final.score(matrix.values[rows])[0], options)
    progress("figures", 0, 1)
    measured = measure(labelled, matrix.values, windows, final, decided, held_out, options)
    progress("figures", 1, 1)
    content = _content(labelled, matrix, windows, decided, options, measured["figures"])
    golden = golden_rows(
        matrix.values, fraud, rows, matrix.names, final, decided, count=options.golden_rows, seed=options.seed
    )
    files = {
        **artifacts.model_files(final.forest, final.booster),
        "policy.json": policy.as_json(decided),
        "golden.parquet": golden,
        DRIFT_FILE: reference.drift_json(matrix.values[rows], matrix.names),
        **_held_out_file(labelled, fraud, windows, decided, held_out),
        **report.render(content, measured),
    }
    progress("bundle", 0, 1)
    bundle = write_bundle(out, files, content, replace=replace)
    progress("bundle", 1, 1)
    return TrainResult(bundle, measured)


def _decide_policy(
    history: pl.DataFrame,
    matrix: features.FeatureMatrix,
    fraud: npt.NDArray[np.int8],
    windows: split.Split,
    options: TrainOptions,
    progress: Progress,
) -> tuple[policy.Policy, Scored]:
    """Train the first round; choose calibration and thresholds by its scores, which are returned too."""
    rows, held_out = windows.fit, windows.validation
    first = models.fit(
        matrix.values[rows], fraud[rows], matrix.names, options, progress, "validation booster"
    )
    scored = first.score(matrix.values[held_out])
    amounts = history["amount_minor"].to_numpy()[held_out]
    return policy.choose(scored[1], fraud[held_out], amounts, options), scored


def _held_out_file(
    history: pl.DataFrame,
    fraud: npt.NDArray[np.int8],
    windows: split.Split,
    decided: policy.Policy,
    held_out: Scored | None,
) -> dict[str, bytes]:
    """Return the scores of the validation window, which the first round had not seen; none without labels."""
    if held_out is None:
        return {}
    rows = windows.validation
    part = history[rows]
    times = part["event_time"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    return {
        HELD_OUT_FILE: reference.held_out_parquet(
            decided.score(*held_out),
            fraud[rows],
            part["amount_minor"].to_numpy(),
            part["currency"] if "currency" in part.columns else None,
            max(1.0, float(times.max() - times.min())) / DAY_MICROS,
        )
    }


def _content(
    history: pl.DataFrame,
    matrix: features.FeatureMatrix,
    windows: split.Split,
    decided: policy.Policy,
    options: TrainOptions,
    figures: dict[str, Any],
) -> dict[str, Any]:
    """Return the manifest's content, files excepted."""
    times = history["event_time"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()

    def window(rows: npt.NDArray[np.int64]) -> dict[str, Any] | None:
        if not rows.size:
            return None
        first, last = int(times[rows].min()), int(times[rows].max())
        return {"first": _iso(first), "last": _iso(last), "transactions": int(rows.size)}

    return {
        "catalogue_hash": matrix.catalogue_hash,
        "feature_names": matrix.names,
        "options": options.recorded(),
        "seed": options.seed,
        "stage": decided.stage,
        "policy": decided.recorded(),
        "windows": {
            "train_until": _iso(windows.train_until_micros),
            "label_gap_before_validation": windows.gap,
            "fit": window(windows.fit),
            "validation": window(windows.validation),
            "final": window(windows.final),
            "test": window(windows.test),
        },
        "metrics": figures,
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()
