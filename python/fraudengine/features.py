"""Features of a transaction history, computed by the same native code that decides live.

There is no other definition of a feature in this package: training rows, replay, stream and scoring
service all read `catalogue()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fraudengine import _native
from fraudengine.engine import Engine, Rejection

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FeatureMatrix", "build", "catalogue", "catalogue_hash", "labels_of", "names"]


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of a history, row by row in its order.

    Attributes
    ----------
    values
        `float32` of shape `(rows, len(names))`, C-contiguous; NaN is missing. A repeated transaction id
        and a rejected row have only missing values.
    names
        Column names, in catalogue order.
    catalogue_hash
        Hash of the definitions behind the columns.
    flags
        `uint8` of shape `(rows,)`, bits of `fraudengine.engine.Flag`.
    rejected
        The rows that broke the schema, each with its reason.

    """

    values: npt.NDArray[np.float32]
    names: list[str]
    catalogue_hash: str
    flags: npt.NDArray[np.uint8]
    rejected: list[Rejection]


def catalogue() -> pl.DataFrame:
    """List every feature in column order.

    Returns
    -------
    polars.DataFrame
        Columns `name`, `entity`, `group`, `window`, `unit`, `meaning`, all strings. Windows are
        `(t - w, t]` and include the transaction itself unless the meaning says "earlier".

    Examples
    --------
    >>> catalogue().height >= 40
    True

    """
    columns = ["name", "entity", "group", "window", "unit", "meaning"]
    return pl.DataFrame(_native.catalogue_features(), schema=columns, orient="row")


def names() -> list[str]:
    """Return the feature names in column order."""
    return [feature[0] for feature in _native.catalogue_features()]


def catalogue_hash() -> str:
    """Return the hash (32 hexadecimal digits) of the definitions behind the feature columns."""
    return _native.catalogue_hash()


def labels_of(history: pl.DataFrame) -> pl.DataFrame | None:
    """Take the fraud labels out of a history that carries them in its own columns.

    Parameters
    ----------
    history
        Canonical columns, among them `is_fraud` and `label_known_time`.

    Returns
    -------
    polars.DataFrame or None
        The transaction columns of each fraud with `known_time` and `is_fraud`; `None` when the history
        has no label columns. Genuine verdicts are left out: no feature counts them.

    """
    if not {"is_fraud", "label_known_time"} <= set(history.columns):
        return None
    known = history.filter((pl.col("is_fraud") == 1) & pl.col("label_known_time").is_not_null())
    return known.rename({"label_known_time": "known_time"})


def build(
    history: pl.DataFrame,
    labels: pl.DataFrame | None = None,
    *,
    engine: Engine | None = None,
    threads: int = 1,
) -> FeatureMatrix:
    """Compute the features of every transaction of a history, in its order.

    Parameters
    ----------
    history
        Canonical columns (see `fraudengine.schema`), in the order of arrival.
    labels
        Verdicts with the canonical columns of their transactions, `known_time` and `is_fraud`. Each
        becomes visible to transactions from its `known_time` on, never before. Default: the labels that
        the history itself carries.
    engine
        Continue from this engine's state instead of an empty one; its state moves on.
    threads
        Native threads, 1 to 64. The result does not depend on it.

    Returns
    -------
    FeatureMatrix

    Raises
    ------
    SchemaError
        A required column is missing or a column has a type that is not accepted.

    """
    engine = engine or Engine(threads=threads)
    if labels is None:
        labels = labels_of(history)
    result = engine.process(history, labels, features=True)
    assert result.features is not None, "asked for above"
    return FeatureMatrix(
        values=result.features,
        names=names(),
        catalogue_hash=catalogue_hash(),
        flags=result.flags,
        rejected=result.rejected,
    )
