"""What a threshold would have done: detection, false positives, alerts a day, money. Pure.

Rows are scores with their outcome and the number of transactions that each stands for. A threshold flags
`score >= threshold`, compared as 32-bit numbers, as the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["AtThreshold", "Outcomes"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What is flagged at a threshold; rates are NaN where there is nothing to divide by.

    Attributes
    ----------
    threshold
        Score from which is flagged.
    detection, false_positives, precision
        Share of the frauds flagged, of the genuine transactions flagged, of the flagged that are frauds.
    alerts_per_day
        Flagged transactions.
    caught, missed, disturbed
        Money a day, minor units of the reference currency: of frauds flagged, of frauds not flagged, of
        genuine transactions flagged.

    """

    threshold: float
    detection: float
    false_positives: float
    precision: float
    alerts_per_day: float
    caught: float
    missed: float
    disturbed: float


class Outcomes:
    """Scores with their outcome, sorted once, asked for any threshold.

    Parameters
    ----------
    score, is_fraud, worth_minor, weight
        Row by row; `worth_minor` in minor units of the reference currency.
    days
        Length of their time, above 0.

    """

    def __init__(
        self,
        score: npt.NDArray[np.float32],
        is_fraud: npt.NDArray[np.bool_],
        worth_minor: Floats,
        weight: Floats,
        days: float,
    ) -> None:
        order = np.argsort(-score, kind="stable")
        self._falling = -score[order]
        fraud, counted, money = is_fraud[order], weight[order], (worth_minor * weight)[order]
        self._frauds = _sums(np.where(fraud, counted, 0.0))
        self._genuine = _sums(np.where(fraud, 0.0, counted))
        self._fraud_money = _sums(np.where(fraud, money, 0.0))
        self._genuine_money = _sums(np.where(fraud, 0.0, money))
        self._days = days
        self.frauds = float(self._frauds[-1])
        """Frauds among the rows."""
        self.transactions = self.frauds + float(self._genuine[-1])
        """Transactions that the rows stand for."""

    def at(self, threshold: float) -> AtThreshold:
        """Return what this threshold would have done."""
        count = int(np.searchsorted(self._falling, -np.float32(threshold), side="right"))
        frauds, genuine = float(self._frauds[count]), float(self._genuine[count])
        return AtThreshold(
            threshold=threshold,
            detection=_share(frauds, self.frauds),
            false_positives=_share(genuine, float(self._genuine[-1])),
            precision=_share(frauds, frauds + genuine),
            alerts_per_day=(frauds + genuine) / self._days,
            caught=float(self._fraud_money[count]) / self._days,
            missed=float(self._fraud_money[-1] - self._fraud_money[count]) / self._days,
            disturbed=float(self._genuine_money[count]) / self._days,
        )


def _sums(values: Floats) -> Floats:
    return np.append(0.0, np.cumsum(values))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
