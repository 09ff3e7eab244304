"""The trained models as the bytes of a bundle, in the form the native scorer wants.

The one place that knows that form.

Files: `booster.ubj` (XGBoost's own format), `booster.treelite` and `forest.treelite` (treelite
checkpoints, what compilation starts from), `ensemble.bin` (what the native scorer reads). All are
deterministic for the same models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import treelite

from fraudengine.training.export import export_ensemble, native_anomaly

if TYPE_CHECKING:
    import numpy.typing as npt
    import xgboost

    from fraudengine.training.forest import Forest

__all__ = ["anomaly", "model_files"]

_BLOCK_ROWS = 1 << 16


def anomaly(forest: Forest, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Score rows with the native forest, so that the booster learns from the bits it will be served.

    Parameters
    ----------
    forest
        A trained forest.
    values
        `float32` rows of features, NaN for missing.

    Returns
    -------
    numpy.ndarray
        `float32` of shape `(rows,)`, 0 to 1, higher is more unusual.

    """
    result = np.empty(len(values), dtype=np.float32)
    for start in range(0, len(values), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        result[rows] = native_anomaly(forest.model, forest.fill, np.ascontiguousarray(values[rows]))
    return result


def model_files(forest: Forest, booster: xgboost.Booster | None) -> dict[str, bytes]:
    """Return the model files of a bundle by name; without a booster only the forest's."""
    files = {
        "ensemble.bin": export_ensemble(booster, forest.model, forest.fill, len(forest.fill)),
        "forest.treelite": treelite.sklearn.import_model(forest.model).serialize_bytes(),
    }
    if booster is not None:
        files["booster.ubj"] = bytes(booster.save_raw("ubj"))
        files["booster.treelite"] = treelite.frontend.from_xgboost(booster).serialize_bytes()
    return files
