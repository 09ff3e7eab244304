"""How far features have moved from training, by what a bundle remembers of it.

`drift.json` of a bundle has, for each feature, the bin edges and the share of the training rows in each bin,
so that live features can be held against training without the training data. `held_out.parquet` has the
scores of rows that the model had not seen, with outcome and amount, so that a threshold can be moved
afterwards. Training writes both (`fraudengine.training.reference`); bundles from before have neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine.errors import BundleError

if TYPE_CHECKING:
    from fraudengine.bundle import Bundle

__all__ = [
    "DRIFT_FILE",
    "HELD_OUT_FILE",
    "Reference",
    "bin_edges",
    "bin_shares",
    "held_out_rows",
    "population_stability",
    "stability",
]

DRIFT_FILE = "drift.json"
HELD_OUT_FILE = "held_out.parquet"


@dataclass(frozen=True)
class Reference:
    """Distributions of the features in training.

    Attributes
    ----------
    rows
        Rows that they were counted on.
    edges, shares
        By feature: inner bin edges, ascending; shares of the bins, the last one of missing values.

    """

    rows: int
    edges: dict[str, npt.NDArray[np.float64]]
    shares: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, bundle: Bundle) -> Reference | None:
        """Return what a bundle remembers; `None`: it was trained before bundles did.

        Raises
        ------
        BundleError
            The file is not such a file.

        """
        if DRIFT_FILE not in bundle.content["files"]:
            return None
        try:
            told = json.loads(bundle.file(DRIFT_FILE).read_bytes())
            features = told["features"]
            return cls(
                int(told["rows"]),
                {name: np.array(each["edges"], dtype=np.float64) for name, each in features.items()},
                {name: np.array(each["shares"], dtype=np.float64) for name, each in features.items()},
            )
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{bundle.path}: {DRIFT_FILE} does not hold distributions") from error

    def stability(self, names: tuple[str, ...], values: npt.NDArray[np.float32]) -> dict[str, float]:
        """Return the population stability index of each feature of some rows; NaN without rows."""
        return {
            name: stability(
                self.shares[name], bin_shares(self.edges[name], values[:, column]), self.rows, len(values)
            )
            for column, name in enumerate(names)
            if name in self.edges
        }


def held_out_rows(bundle: Bundle) -> pl.DataFrame | None:
    """Return what `held_out.parquet` holds; `None`: the bundle has none (no labels, or an older one).

    Raises
    ------
    BundleError
        The file cannot be read.

    """
    if HELD_OUT_FILE not in bundle.content["files"]:
        return None
    try:
        return pl.read_parquet(bundle.file(HELD_OUT_FILE))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BundleError(f"{bundle.path}: {HELD_OUT_FILE} cannot be read") from error


def population_stability(expected: npt.ArrayLike, actual: npt.ArrayLike, bins: int = 10) -> float:
    """Return the population stability index of one feature between two samples; missing is one bin.

    Below 0.1 the distribution is usually called stable, above 0.25 changed. Empty bins count as half a
    row, so the index is finite. NaN when a sample is empty.

    Parameters
    ----------
    expected, actual
        Values with NaN for missing, any shape.
    bins
        Quantile bins of `expected`, at least 1.

    """
    before = np.asarray(expected, dtype=np.float64).ravel()
    after = np.asarray(actual, dtype=np.float64).ravel()
    edges = bin_edges(before, bins)
    return stability(bin_shares(edges, before), bin_shares(edges, after), before.size, after.size)


def bin_edges(values: npt.ArrayLike, bins: int = 10) -> npt.NDArray[np.float64]:
    """Return the inner edges of quantile bins of the values that are there, ascending, each once."""
    sample = np.asarray(values, dtype=np.float64).ravel()
    present = sample[~np.isnan(sample)]
    if not present.size:
        return np.empty(0)
    edges: npt.NDArray[np.float64] = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1]))
    return edges


def bin_shares(edges: npt.NDArray[np.float64], values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the share of the values in each bin, an edge belonging to the bin above it; last: the missing.

    All are 0 when there are no values.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    missing = np.isnan(sample)
    counts = np.bincount(np.searchsorted(edges, sample[~missing], side="right"), minlength=edges.size + 1)
    return np.append(counts, missing.sum()) / max(1, sample.size)


def stability(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], rows_before: int, rows_after: int
) -> float:
    """Return the population stability index of two lists of `bin_shares`, counted on so many rows."""
    if not rows_before or not rows_after:
        return float("nan")
    p, q = np.maximum(before, 0.5 / rows_before), np.maximum(after, 0.5 / rows_after)
    return float(np.sum((q - p) * np.log(q / p)))
