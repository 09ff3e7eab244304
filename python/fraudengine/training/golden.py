"""Golden rows: inputs with the answers of the libraries that trained the model.

Any engine that loads the bundle can score these rows and compare, which is how a broken build or a
miscompiled library is found before it decides anything. Frauds and unusual rows are over-represented.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from fraudengine.training.models import Models
    from fraudengine.training.policy import Policy

__all__ = ["golden_rows"]


def golden_rows(
    values: npt.NDArray[np.float32],
    fraud: npt.NDArray[np.int8],
    rows: npt.NDArray[np.int64],
    names: list[str],
    models: Models,
    policy: Policy,
    *,
    count: int,
    seed: int,
) -> bytes:
    """Choose rows and record what the models say.

    Parameters
    ----------
    values, fraud
        Features and labels of the whole history.
    rows
        Rows to choose from, at least one.
    names
        Feature names.
    models, policy
        The finished model.
    count
        Rows to keep at most: up to half frauds, a quarter with one missing value each, the rest at random.
    seed
        Of the choice.

    Returns
    -------
    bytes
        Parquet: the features (Float32, NaN for missing), `expected_anomaly`, `expected_margin`,
        `expected_score` (Float32), `expected_action` (UInt8).

    """
    generator = np.random.default_rng(seed)
    frauds = rows[fraud[rows] == 1]
    chosen = generator.choice(frauds, min(count // 2, frauds.size), replace=False)
    others = rows[fraud[rows] != 1]
    fill = generator.choice(others, min(count - chosen.size, others.size), replace=False)
    picked = np.sort(np.concatenate([chosen, fill]).astype(np.int64))
    inputs = values[picked].copy()
    holes = generator.choice(picked.size, picked.size // 4, replace=False)
    inputs[holes, generator.integers(0, inputs.shape[1], holes.size)] = np.nan
    anomaly, margin = models.score(inputs)
    score = policy.score(anomaly, margin)
    frame = pl.DataFrame({name: inputs[:, column] for column, name in enumerate(names)}).with_columns(
        expected_anomaly=pl.Series(anomaly),
        expected_margin=pl.Series(margin),
        expected_score=pl.Series(score),
        expected_action=pl.Series(policy.actions(score)),
    )
    stream = io.BytesIO()
    frame.write_parquet(stream, compression="zstd")
    return stream.getvalue()
