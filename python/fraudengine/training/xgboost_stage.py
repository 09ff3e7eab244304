"""The booster: XGBoost's histogram method with at most 255 thresholds per feature.

So the native scorer can turn every value into a byte without loss.
The base score is fixed at one half (margin 0) and the probability is calibrated afterwards. Training is
deterministic for the same rows, seed and number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from fraudengine.errors import TrainingError
from fraudengine.training.options import BoosterOptions, Progress

__all__ = ["fit", "importance", "margins"]


class _Report(xgboost.callback.TrainingCallback):
    """Passes each finished tree on to the progress hook."""

    def __init__(self, progress: Progress, stage: str, total: int) -> None:
        self._progress, self._stage, self._total = progress, stage, total

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401
        """Report one more tree; never stops the training."""
        self._progress(self._stage, epoch + 1, self._total)
        return False


def fit(
    values: npt.NDArray[np.float32],
    fraud: npt.NDArray[np.int8],
    names: list[str],
    options: BoosterOptions,
    *,
    seed: int,
    threads: int,
    progress: Progress,
    stage: str,
) -> xgboost.Booster:
    """Train the booster.

    Parameters
    ----------
    values
        `float32` rows, NaN for missing, shape `(rows, len(names))`.
    fraud
        0 or 1, shape `(rows,)`.
    names
        Column names, stored in the model.
    options, seed, threads
        The recipe.
    progress, stage
        Called after each tree.

    Raises
    ------
    TrainingError
        The rows hold no fraud, or nothing but fraud.

    """
    frauds = int(fraud.sum())
    if not 0 < frauds < len(fraud):
        raise TrainingError(
            f"the booster needs frauds and genuine transactions, got {frauds} of {len(fraud)}"
        )
    data = xgboost.QuantileDMatrix(
        values, label=fraud, feature_names=names, max_bin=options.bins, nthread=threads
    )
    parameters = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "max_bin": options.bins,
        "max_depth": options.depth,
        "eta": options.learning_rate,
        "subsample": options.row_share,
        "colsample_bytree": options.feature_share,
        "min_child_weight": options.child_weight_min,
        "lambda": options.l2,
        "nthread": threads,
        "seed": seed,
    }
    return xgboost.train(parameters, data, options.trees, callbacks=[_Report(progress, stage, options.trees)])


def margins(booster: xgboost.Booster, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the log odds of each row, `float32`, by XGBoost itself."""
    result = booster.inplace_predict(values, predict_type="margin", missing=np.nan)
    return np.asarray(result, dtype=np.float32)


def importance(booster: xgboost.Booster) -> dict[str, dict[str, float]]:
    """Return the share of the total gain and of the splits' rows (cover) of each feature that is used."""
    gain, cover = _shares(booster, "total_gain"), _shares(booster, "total_cover")
    return {name: {"gain": gain[name], "cover": cover[name]} for name in sorted(gain)}


def _shares(booster: xgboost.Booster, kind: str) -> dict[str, float]:
    # A list stands for the classes of a multi-class model; ours has one.
    scores = {name: float(np.sum(value)) for name, value in booster.get_score(importance_type=kind).items()}
    total = sum(scores.values()) or 1.0
    return {name: value / total for name, value in scores.items()}
