"""Writes what a bundle remembers of its training for later comparison; read by `fraudengine.drift`.

Of the held-out rows every fraud is kept, and of the genuine ones an even sample with its weight. Neither file
names a customer or a transaction.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine.drift import bin_edges, bin_shares

__all__ = ["drift_json", "held_out_parquet"]

_BINS = 10
_SAMPLE_ROWS = 50_000
_GENUINE_MAX = 200_000


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
