"""Where to review and where to block: for a stated false positive rate, or for stated costs.

Thresholds are float32 scores and belong to the stricter side (`score >= threshold`), exactly as the
native policy compares them. They are chosen on held-out rows, and stand halfway between two of their scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraudengine.errors import ConfigError
from fraudengine.training.metrics import curve, threshold_at_fpr

__all__ = ["Costs", "Thresholds", "for_costs", "for_rates"]


@dataclass(frozen=True)
class Thresholds:
    """Scores 0 to 1 from which a transaction is reviewed and blocked; `block_from >= review_from`."""

    review_from: float
    block_from: float


@dataclass(frozen=True)
class Costs:
    """What each outcome costs, in minor units.

    Attributes
    ----------
    review_minor
        Cost of one review.
    friction_minor
        Cost of blocking a genuine transaction.
    loss_share
        Share of a fraud's amount that is lost when it is approved, 0 to 1.
    review_misses
        Share of reviewed frauds that a review lets through, 0 to 1.

    """

    review_minor: float = 300.0
    friction_minor: float = 2000.0
    loss_share: float = 1.0
    review_misses: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("review_minor", "friction_minor"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("loss_share", "review_misses"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


def for_rates(fraud: npt.ArrayLike, score: npt.ArrayLike, review_fpr: float, block_fpr: float) -> Thresholds:
    """Choose the lowest thresholds that flag at most these shares of the genuine transactions.

    `review_fpr` covers everything flagged, reviewed and blocked together.

    Raises
    ------
    ConfigError
        Not `0 < block_fpr <= review_fpr < 1`.

    """
    if not 0 < block_fpr <= review_fpr < 1:
        raise ConfigError(f"need 0 < block_fpr <= review_fpr < 1, got {block_fpr} and {review_fpr}")
    scores = np.asarray(score, dtype=np.float32)
    points = curve(fraud, scores)
    review, block = (_closed(threshold_at_fpr(points, rate)) for rate in (review_fpr, block_fpr))
    return Thresholds(_midway(scores, review), _midway(scores, block))


def _closed(threshold: float) -> float:
    """Return the threshold, or just above 1 (nothing is flagged) when no score keeps to the rate."""
    return threshold if np.isfinite(threshold) else float(np.nextafter(np.float32(1), np.float32(2)))


def _midway(scores: npt.NDArray[np.float32], threshold: float) -> float:
    """Move a threshold halfway down to the next score: the same rows are flagged, and none lies upon it.

    Otherwise the last bit of one row's score, which a scorer that adds in another order may change, would
    decide that row and every later one like it.
    """
    below = scores[scores < np.float32(threshold)]
    if threshold > 1 or not below.size:
        return threshold
    middle = np.float32((float(below.max()) + threshold) / 2)
    return float(middle) if middle > below.max() else threshold


def for_costs(
    fraud: npt.ArrayLike, score: npt.ArrayLike, amount_minor: npt.ArrayLike, costs: Costs
) -> tuple[Thresholds, float]:
    """Choose the pair of thresholds with the lowest total cost on these rows, exactly.

    Parameters
    ----------
    fraud, score, amount_minor
        Outcome 0 or 1, score, amount in minor units; shape `(rows,)`, at least one row.
    costs
        Price of each outcome.

    Returns
    -------
    tuple
        Thresholds, and the total cost in minor units.

    """
    labels = np.asarray(fraud, dtype=np.float64)
    scores = np.asarray(score, dtype=np.float32)
    loss = labels * np.asarray(amount_minor, dtype=np.float64) * costs.loss_share
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    # Cut c puts the c lowest scores below it; only cuts between different scores can be realised.
    cuts = np.flatnonzero(np.concatenate([[True], np.diff(ranked) != 0, [True]]))
    approved = np.append(0.0, np.cumsum(loss[order]))[cuts]
    reviewed = np.append(0.0, np.cumsum(costs.review_minor + costs.review_misses * loss[order]))[cuts]
    blocked = np.append(0.0, np.cumsum(costs.friction_minor * (1 - labels[order])))[cuts]
    saving = approved - reviewed
    best_before = np.minimum.accumulate(saving)
    total = best_before + reviewed + (blocked[-1] - blocked)
    block = int(np.argmin(total))
    review = int(np.argmin(saving[: block + 1]))
    above = np.append(ranked, np.nextafter(np.float32(1), np.float32(2)))
    chosen = (_midway(ranked, float(above[cuts[cut]])) for cut in (review, block))
    return Thresholds(*chosen), float(total[block])
