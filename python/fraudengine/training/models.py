"""The two trained models of a bundle as one thing that scores rows, as the native scorer does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from fraudengine.training import artifacts, xgboost_stage
from fraudengine.training import forest as forest_stage

if TYPE_CHECKING:
    import xgboost

    from fraudengine.training.options import Progress, TrainOptions

__all__ = ["ANOMALY_COLUMN", "Models", "fit"]

ANOMALY_COLUMN: Final = "anomaly_score"
"""Name of the booster's last column."""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Models:
    """What one round of training gives.

    Attributes
    ----------
    forest
        Trained isolation forest.
    booster
        Trained booster over the features and the anomaly; `None` without labels.

    """

    forest: forest_stage.Forest
    booster: xgboost.Booster | None

    def score(self, values: Values) -> tuple[Values, Values]:
        """Return anomaly and margin of rows of features; without a booster the margin is NaN."""
        anomaly = artifacts.anomaly(self.forest, values)
        if self.booster is None:
            return anomaly, np.full_like(anomaly, np.nan)
        return anomaly, xgboost_stage.margins(self.booster, np.column_stack([values, anomaly]))


def fit(
    values: Values,
    fraud: npt.NDArray[np.int8] | None,
    names: list[str],
    options: TrainOptions,
    progress: Progress,
    stage: str,
) -> Models:
    """Train forest and, when there are labels, booster.

    Parameters
    ----------
    values
        `float32` rows, NaN for missing, shape `(rows, len(names))`.
    fraud
        0 or 1 per row; `None` trains the forest alone.
    names
        Feature names.
    options, progress, stage
        The recipe; the hook; the name under which the booster's trees are reported.

    Raises
    ------
    TrainingError
        Too few rows, or only one kind of label.

    """
    progress("forest", 0, 1)
    trained = forest_stage.fit(values, options.forest, options.seed)
    progress("forest", 1, 1)
    if fraud is None:
        return Models(trained, None)
    wide = np.column_stack([values, artifacts.anomaly(trained, values)])
    booster = xgboost_stage.fit(
        wide,
        fraud,
        [*names, ANOMALY_COLUMN],
        options.booster,
        seed=options.seed,
        threads=options.threads,
        progress=progress,
        stage=stage,
    )
    return Models(trained, booster)
