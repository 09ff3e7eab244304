"""Detection figures: ranking, alert lists, probabilities.

Every function takes plain arrays, row for row, and is pure. A higher score always means more suspicious.
Rows with the same score are one step of a curve, so no ranking figure depends on the order of the rows;
an alert list that cannot hold all of a tie takes the earlier ones. `weights` are repetition counts (for
the bootstrap); a weight of zero removes the row. Ill-defined figures (no fraud, or nothing but fraud)
are NaN, never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "FPR_DEFAULT",
    "AlertDays",
    "Curve",
    "alert_days",
    "average_precision",
    "brier",
    "calibration_error",
    "curve",
    "precision_at_fpr",
    "recall_at_fpr",
    "roc_auc",
    "threshold_at_fpr",
]

FPR_DEFAULT: Final = 0.021
"""False positive rate at which the detection rate is stated."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Counts above each distinct score, from the most suspicious down.

    Attributes
    ----------
    thresholds
        Distinct scores, decreasing; row `i` counts the transactions with a score of at least this.
    frauds, genuine
        Weighted counts of alerts that are right and wrong; the last entries are the totals.

    """

    thresholds: Floats
    frauds: Floats
    genuine: Floats

    @property
    def recall(self) -> Floats:
        """Share of the frauds found at each threshold, 0 to 1."""
        return _share(self.frauds, self.frauds[-1] if self.frauds.size else 0.0)

    @property
    def fpr(self) -> Floats:
        """Share of the genuine transactions flagged at each threshold, 0 to 1."""
        return _share(self.genuine, self.genuine[-1] if self.genuine.size else 0.0)

    @property
    def precision(self) -> Floats:
        """Share of the alerts that are frauds at each threshold, 0 to 1."""
        alerts = self.frauds + self.genuine
        return np.divide(self.frauds, alerts, out=np.zeros_like(alerts), where=alerts > 0)


def _share(counts: Floats, total: float) -> Floats:
    return counts / total if total > 0 else np.full_like(counts, np.nan)


def curve(fraud: npt.ArrayLike, score: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Curve:
    """Count right and wrong alerts above every distinct score.

    Parameters
    ----------
    fraud
        0 or 1, shape `(rows,)`.
    score
        Any finite numbers, shape `(rows,)`.
    weights
        How often each row counts, not negative; default once.

    """
    labels = np.asarray(fraud, dtype=np.float64)
    scores = np.asarray(score, dtype=np.float64)
    counts = np.ones_like(labels) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.flatnonzero(np.append(np.diff(ranked) != 0, ranked.size > 0))
    frauds = np.cumsum((labels * counts)[order])[last_of_tie]
    genuine = np.cumsum(((1.0 - labels) * counts)[order])[last_of_tie]
    return Curve(ranked[last_of_tie], frauds, genuine)


def roc_auc(points: Curve) -> float:
    """Probability that a fraud scores above a genuine transaction, ties counting half."""
    recall = np.append(0.0, points.recall)
    fpr = np.append(0.0, points.fpr)
    return float(np.sum(np.diff(fpr) * (recall[1:] + recall[:-1]) / 2)) if points.fpr.size else float("nan")


def average_precision(points: Curve) -> float:
    """Precision averaged over the steps of recall (no interpolation)."""
    if not points.recall.size:
        return float("nan")
    return float(np.sum(np.diff(np.append(0.0, points.recall)) * points.precision))


def recall_at_fpr(points: Curve, fpr_max: float = FPR_DEFAULT) -> float:
    """Share of the frauds found without flagging more than `fpr_max` of the genuine transactions."""
    if not points.recall.size or np.isnan(points.recall[-1]) or np.isnan(points.fpr[-1]):
        return float("nan")
    return float(np.max(points.recall, where=points.fpr <= fpr_max, initial=0.0))


def precision_at_fpr(points: Curve, fpr_max: float = FPR_DEFAULT) -> float:
    """Precision of the alerts at the lowest threshold that keeps to `fpr_max`; NaN without alerts."""
    inside = np.flatnonzero(points.fpr <= fpr_max)
    return float(points.precision[inside[-1]]) if inside.size else float("nan")


def threshold_at_fpr(points: Curve, fpr_max: float = FPR_DEFAULT) -> float:
    """Lowest score from which flagging keeps to `fpr_max`; infinity when even the top score does not."""
    inside = np.flatnonzero(points.fpr <= fpr_max)
    return float(points.thresholds[inside[-1]]) if inside.size else float("inf")


def brier(fraud: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Mean squared difference between probability and outcome, 0 (best) to 1."""
    difference = np.asarray(probability, dtype=np.float64) - np.asarray(fraud, dtype=np.float64)
    return float(np.mean(difference**2)) if difference.size else float("nan")


def calibration_error(fraud: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 20) -> float:
    """Return the expected calibration error: mean gap of stated and observed rate over bins.

    Parameters
    ----------
    fraud, probability
        Outcome 0 or 1 and stated probability 0 to 1, shape `(rows,)`.
    bins
        Groups of equally many rows in order of probability, at least 1.

    """
    stated = np.asarray(probability, dtype=np.float64)
    observed = np.asarray(fraud, dtype=np.float64)[np.argsort(stated, kind="stable")]
    groups = zip(np.array_split(np.sort(stated), bins), np.array_split(observed, bins), strict=True)
    gaps = [len(p) * abs(p.mean() - y.mean()) for p, y in groups if len(p)]
    return float(sum(gaps) / stated.size) if stated.size else float("nan")


@dataclass(frozen=True)
class AlertDays:
    """What a team that can look at `k` alerts a day sees, one entry per day.

    Attributes
    ----------
    days
        Day numbers, increasing.
    card_precision
        Frauds among the `k` most suspicious cards of the day over `k`, cards found on an earlier day
        left out (the Handbook's CP@k; customers stand for cards there).
    money_caught, money_lost
        Fraud amount inside and outside the `k` most suspicious transactions of the day, minor units.

    """

    days: npt.NDArray[np.int64]
    card_precision: Floats
    money_caught: Floats
    money_lost: Floats


def alert_days(
    fraud: npt.ArrayLike,
    score: npt.ArrayLike,
    card: npt.ArrayLike,
    day: npt.ArrayLike,
    amount_minor: npt.ArrayLike,
    k: int = 100,
) -> AlertDays:
    """Walk through the days as a team with room for `k` alerts a day does.

    Parameters
    ----------
    fraud, score
        Outcome 0 or 1 and score, shape `(rows,)`.
    card
        Integer code of the card (or customer) of each row.
    day
        Integer day number of each row.
    amount_minor
        Amounts in minor units, not negative.
    k
        Alerts per day, at least 1.

    """
    labels, scores = np.asarray(fraud, dtype=np.int64), np.asarray(score, dtype=np.float64)
    cards, days = np.asarray(card, dtype=np.int64), np.asarray(day, dtype=np.int64)
    amounts = np.asarray(amount_minor, dtype=np.float64)
    found: list[int] = []
    precision, caught, lost = [], [], []
    present = np.unique(days)
    for today in present:
        rows = np.flatnonzero(days == today)
        alerts = rows[np.argsort(-scores[rows], kind="stable")[:k]]
        in_alerts = float(np.sum(amounts[alerts] * labels[alerts]))
        caught.append(in_alerts)
        lost.append(float(np.sum(amounts[rows] * labels[rows])) - in_alerts)
        open_rows = rows[~np.isin(cards[rows], found)]
        hits = _frauds_in_top(cards[open_rows], scores[open_rows], labels[open_rows], k)
        found.extend(hits)
        precision.append(len(hits) / k)
    return AlertDays(present, np.array(precision), np.array(caught), np.array(lost))


def _frauds_in_top(
    cards: npt.NDArray[np.int64], scores: Floats, labels: npt.NDArray[np.int64], k: int
) -> list[int]:
    """Cards with a fraud among the `k` cards whose highest score is highest."""
    names, card = np.unique(cards, return_inverse=True)
    highest = np.full(names.size, -np.inf)
    np.maximum.at(highest, card, scores)
    has_fraud = np.zeros(names.size, dtype=np.int64)
    np.maximum.at(has_fraud, card, labels)
    top = np.argsort(-highest, kind="stable")[:k]
    return [int(name) for name in names[top[has_fraud[top] == 1]]]
