"""What a bundle remembers of its training for later comparison: distributions of features, held-out scores.

`drift.json` has, for each feature, the bin edges and the share of the training rows in each bin, so that live
features can be held against training without the training data. `held_out.parquet` has the scores of rows
that the model had not seen, with outcome and amount, so that a threshold can be moved afterwards: every
fraud, and of the genuine ones an even sample with its weight. Neither names a customer or a transaction.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine.errors import BundleError
from fraudengine.training.bootstrap import bin_edges, bin_shares, stability

if TYPE_CHECKING:
    from fraudengine.bundle import Bundle

__all__ = ["DRIFT_FILE", "HELD_OUT_FILE", "Reference", "drift_json", "held_out_parquet", "held_out_rows"]

DRIFT_FILE = "drift.json"
HELD_OUT_FILE = "held_out.parquet"

_BINS = 10
_SAMPLE_ROWS = 50_000
_GENUINE_MAX = 200_000


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


def drift_json(values: npt.NDArray[np.float32], names: list[str]) -> bytes:
    """Return `drift.json` of training rows, at most `_SAMPLE_ROWS` of them, evenly spread."""
    rows = values[:: max(1, -(-len(values) // _SAMPLE_ROWS))]
    features: dict[str, Any] = {}
    for column, name in enumerate(names):
        edges = bin_edges(rows[:, column], _BINS)
        shares = bin_shares(edges, rows[:, column])
        features[name] = {"edges": edges.tolist(), "shares": [round(float(each), 9) for each in shares]}
    told = {"rows": len(rows), "features": features}
    return (json.dumps(told, sort_keys=True, allow_nan=False) + "\n").encode()


def held_out_parquet(
    score: npt.NDArray[np.float32],
    fraud: npt.NDArray[np.int8],
    amount_minor: npt.NDArray[np.int64],
    currency: pl.Series | None,
    days: float,
) -> bytes:
    """Return `held_out.parquet`.

    Parameters
    ----------
    score, fraud, amount_minor, currency
        Of the held-out rows: score, outcome 0 or 1, amount in minor units of the currency; no currency: the
        reference.
    days
        Length of their time, above 0; how many alerts a day a threshold makes follows from it.

    """
    genuine = np.flatnonzero(fraud == 0)
    step = max(1, -(-genuine.size // _GENUINE_MAX))
    kept = np.sort(np.concatenate([np.flatnonzero(fraud == 1), genuine[::step]]))
    weight = np.where(fraud[kept] == 1, 1.0, genuine.size / max(1, genuine[::step].size))
    frame = pl.DataFrame(
        {
            "score": score[kept].astype(np.float32),
            "is_fraud": fraud[kept].astype(bool),
            "amount_minor": amount_minor[kept].astype(np.int64),
            "weight": weight,
            "days": np.full(kept.size, days),
        }
    ).with_columns(
        currency=pl.lit(None, dtype=pl.String) if currency is None else currency.cast(pl.String)[kept]
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


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
