"""Synthetic histories: seeded, labelled, and the same for any number of threads.

Honest customers shop by habit; eight kinds of fraud run in campaigns among them. Honest traffic shows
every single-field sign of fraud too (trips, new devices, large amounts, nights), so fraud is told by how
fields of several transactions belong together, not by one of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from fraudengine import _native

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SyntheticConfig", "generate", "generate_batches"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What history to generate; equal settings give equal histories.

    Attributes
    ----------
    seed
        Any integer from 0 to 2^64 - 1.
    customers
        10 to 10,000,000.
    merchants
        50 to 1,000,000.
    days
        1 to 3,650.
    start
        First day (its midnight, UTC, is the beginning), from 2000 on.
    daily_mean
        Mean genuine transactions a day of one customer, 0.01 to 20.
    fraud_rate
        Share of fraud among all transactions, 0 to 0.2.
    label_delay_hours
        Mean time from a transaction to its label, 0 to 2,400 hours; single delays vary around it.
    label_noise
        Share of labels that are wrong, 0 to 0.5.
    duplicate_rate
        Share of records that arrive twice, 0 to 0.5.
    late_rate, late_seconds_max
        Share of records that arrive late (0 to 0.5), and by how much at most (0 to 86,400 s).
    jitter_seconds
        Largest random delay of every record (0 to 3,600 s): records are then out of order.
    drift
        How much habits and the mix of fraud change from the first day to the last, 0 to 1.

    """

    seed: int = 1
    customers: int = 10_000
    merchants: int = 2_000
    days: int = 90
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    daily_mean: float = 0.7
    fraud_rate: float = 0.005
    label_delay_hours: float = 72.0
    label_noise: float = 0.0
    duplicate_rate: float = 0.0
    late_rate: float = 0.0
    late_seconds_max: float = 1_800.0
    jitter_seconds: float = 0.0
    drift: float = 0.0

    def native(self) -> dict[str, Any]:
        """Return the settings as the native generator takes them, the start in microseconds since 1970."""
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "start"}
        return settings | {"start_micros": (start - _EPOCH).days * 86_400_000_000}


def generate_batches(config: SyntheticConfig, *, threads: int = 0) -> Iterator[pl.DataFrame]:
    """Yield a history day by day, in the order in which its records arrive.

    Parameters
    ----------
    config
        What to generate.
    threads
        Native threads; 0 for one per processor. The history does not depend on it. Memory holds one day
        per thread.

    Yields
    ------
    polars.DataFrame
        Canonical columns (see `fraudengine.schema`) with `is_fraud`, `label_known_time` and `typology`
        (what really happened; null for genuine).

    Raises
    ------
    ConfigError
        A setting is outside its range; the message names it.

    """
    stream = _native.SyntheticStream(**config.native(), threads=threads or os.cpu_count() or 1)
    while (batch := stream.next_day()) is not None:
        yield pl.DataFrame(batch)


def generate(config: SyntheticConfig, *, threads: int = 0) -> pl.DataFrame:
    """Generate a whole history at once; see `generate_batches`.

    Examples
    --------
    >>> history = generate(SyntheticConfig(customers=100, days=3))
    >>> {"transaction_id", "event_time", "customer_id", "amount_minor"} <= set(history.columns)
    True

    """
    return pl.concat(generate_batches(config, threads=threads))
