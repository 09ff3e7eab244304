"""Confidence intervals by resampling. Seeded, so that a report can be repeated.

Ranking figures are resampled by customer, because the transactions of one customer (and of one theft)
are not independent; alert-list figures by day. Both are percentile intervals. With fewer than two units
to draw from there is no interval (NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraudengine.training.metrics import Curve, curve

__all__ = ["Interval", "by_customer", "by_day"]


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence bounds, in the unit of the figure."""

    value: float
    low: float
    high: float


def by_customer(
    fraud: npt.ArrayLike,
    score: npt.ArrayLike,
    customer: npt.ArrayLike,
    figures: Mapping[str, Callable[[Curve], float]],
    *,
    repeats: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Resample customers with replacement and recompute ranking figures.

    Parameters
    ----------
    fraud, score, customer
        Outcome 0 or 1, score, integer customer code; shape `(rows,)`.
    figures
        Name and function of a `Curve`.
    repeats
        Resamples, at least 1.
    level
        Coverage, between 0 and 1.
    seed
        Of the generator.

    """
    codes = np.unique(np.asarray(customer, dtype=np.int64), return_inverse=True)[1]
    labels = np.asarray(fraud)
    units = int(codes.max()) + 1 if codes.size else 0
    whole = curve(labels, score)
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    generator = np.random.default_rng(seed)
    for _ in range(repeats if units > 1 else 0):
        times = np.bincount(generator.integers(0, units, units), minlength=units)
        points = curve(labels, score, times[codes])
        for name, figure in figures.items():
            drawn[name].append(figure(points))
    return {name: _interval(figure(whole), drawn[name], level) for name, figure in figures.items()}


def by_day(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    *,
    repeats: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Resample days with replacement for a ratio of sums over days.

    Parameters
    ----------
    numerator, denominator
        One value per day; a mean over days has a denominator of ones.
    repeats, level, seed
        As in `by_customer`.

    """
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(repeats if above.size > 1 else 0):
        days = generator.integers(0, above.size, above.size)
        drawn.append(_ratio(above[days], below[days]))
    return _interval(_ratio(above, below), drawn, level)


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> float:
    return float(above.sum() / below.sum()) if below.sum() > 0 else float("nan")


def _interval(value: float, drawn: list[float], level: float) -> Interval:
    usable = np.array([each for each in drawn if not np.isnan(each)])
    if not usable.size:
        return Interval(value, float("nan"), float("nan"))
    tail = (1.0 - level) / 2
    low, high = np.quantile(usable, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
