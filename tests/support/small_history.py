"""A small labelled history for tests of training: quick to learn from, the same for the same seed.

Frauds happen at merchants that are compromised for a while, so that reported frauds predict later ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fraudengine.datasets.synthetic import SyntheticConfig, generate

START = datetime(2024, 3, 1, tzinfo=UTC)


def small_history(*, days: int = 45, per_day: int = 250, seed: int = 5, labels: bool = True) -> pl.DataFrame:
    """Return canonical columns in order of time; verdicts follow after 3 days."""
    generator = np.random.default_rng(seed)
    rows = days * per_day
    micros = np.sort(generator.integers(0, days * 86_400_000_000, rows))
    merchant = generator.integers(0, 60, rows)
    # Merchant m is compromised in days [3 m mod days, +14).
    begin = (merchant * 3) % days
    inside = (micros // 86_400_000_000 >= begin) & (micros // 86_400_000_000 < begin + 14)
    fraud = inside & (merchant % 4 == 0) & (generator.random(rows) < 0.5)
    amount = np.maximum(100, generator.gamma(2.0, 2500, rows) * np.where(fraud, 1.5, 1.0)).astype(np.int64)
    epoch = int(START.timestamp()) * 1_000_000
    frame = pl.DataFrame(
        {
            "transaction_id": [f"t{row}" for row in range(rows)],
            "event_time": pl.Series(micros + epoch).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "customer_id": [f"c{customer}" for customer in generator.integers(0, 150, rows)],
            "merchant_id": [f"m{each}" for each in merchant],
            "amount_minor": amount,
            "currency": ["EUR"] * rows,
        }
    )
    if not labels:
        return frame
    return frame.with_columns(
        is_fraud=pl.Series(fraud).cast(pl.Int8),
        label_known_time=pl.col("event_time") + timedelta(days=3),
        typology=pl.when(pl.Series(fraud)).then(pl.lit("compromised_merchant")),
    )


def disorderly_history(**settings: Any) -> pl.DataFrame:
    """Return a synthetic history with repeated, late and out-of-order records, in order of arrival."""
    common: dict[str, Any] = {
        "fraud_rate": 0.03,
        "duplicate_rate": 0.02,
        "late_rate": 0.02,
        "jitter_seconds": 5,
        "seed": 3,
    }
    return generate(SyntheticConfig(**(common | settings)))
