"""The isolation forest: unusual without any label. One more input of the booster, and the cold score.

scikit-learn trains it; missing values are filled with the median of the training rows (0 for a feature
that is always missing), because isolation trees have no missing branch, and the fill values travel with
the model. A higher anomaly is more unusual, 0 to 1 (Liu 2008): minus scikit-learn's `score_samples`.
What the booster learns from is the native scorer's anomaly, so training and serving see the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest

from fraudengine.errors import TrainingError
from fraudengine.training.options import ForestOptions

__all__ = ["Forest", "fit"]


@dataclass(frozen=True)
class Forest:
    """A trained forest with its fill values.

    Attributes
    ----------
    model
        scikit-learn's `IsolationForest`.
    fill
        `float32` of shape `(features,)`, finite: stands in for missing and infinite values.

    """

    model: Any
    fill: npt.NDArray[np.float32]

    def filled(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the rows with missing values replaced, C-contiguous."""
        return np.ascontiguousarray(np.where(np.isnan(values), self.fill, values), dtype=np.float32)


def fit(values: npt.NDArray[np.float32], options: ForestOptions, seed: int) -> Forest:
    """Train the forest.

    Parameters
    ----------
    values
        `float32` rows of features, NaN for missing, shape `(rows, features)`.
    options
        Size of the forest.
    seed
        Of the random choices; the result does not depend on threads.

    Raises
    ------
    TrainingError
        Fewer than two rows.

    """
    if len(values) < 2:
        raise TrainingError(f"an isolation forest needs at least 2 rows, got {len(values)}")
    fill = np.zeros(values.shape[1], dtype=np.float32)
    for column in range(values.shape[1]):
        finite = values[np.isfinite(values[:, column]), column]
        if finite.size:
            fill[column] = np.median(finite)
    model = IsolationForest(
        n_estimators=options.trees,
        max_samples=min(options.rows_per_tree, len(values)),
        random_state=seed,
        n_jobs=1,
    )
    # Each tree sees `max_samples` rows only, so the clip to float32's range touches no ordinary value.
    limit = np.finfo(np.float32).max / 2
    model.fit(np.clip(np.where(np.isnan(values), fill, values), -limit, limit))
    return Forest(model, fill)
