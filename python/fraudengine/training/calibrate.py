"""From margin to probability: `1 / (1 + exp(-(slope * margin + intercept)))`, fitted on held-out rows.

Two numbers and a positive slope (Platt 1999): strictly increasing, so calibration never changes which of
two transactions is the more suspicious. Fitted by Newton's method on Platt's smoothed targets, which
keeps the slope finite when the held-out rows are perfectly separable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fraudengine.errors import TrainingError

__all__ = ["Calibration", "fit"]

_STEPS_MAX: Final = 100
_SLOPE_MIN: Final = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Slope (positive) and intercept (finite) of the log odds."""

    slope: float = 1.0
    intercept: float = 0.0

    def probability(self, margin: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the probability of fraud, `float32` 0 to 1, computed in float64 as the native code does."""
        log_odds = self.slope * np.asarray(margin, dtype=np.float64) + self.intercept
        with np.errstate(over="ignore"):
            return (1.0 / (1.0 + np.exp(-log_odds))).astype(np.float32)


def fit(margin: npt.ArrayLike, fraud: npt.ArrayLike) -> Calibration:
    """Fit slope and intercept to held-out rows.

    Parameters
    ----------
    margin
        Log odds of the ensemble, finite, shape `(rows,)`.
    fraud
        0 or 1, shape `(rows,)`.

    Raises
    ------
    TrainingError
        The rows hold no fraud, or nothing but fraud.

    """
    x = np.asarray(margin, dtype=np.float64)
    labels = np.asarray(fraud, dtype=np.float64)
    frauds, genuine = float(labels.sum()), float((1 - labels).sum())
    if not frauds or not genuine:
        raise TrainingError(
            f"calibration needs frauds and genuine transactions, got {frauds:.0f} and {genuine:.0f}"
        )
    target = np.where(labels > 0, (frauds + 1) / (frauds + 2), 1 / (genuine + 2))
    slope, intercept = _newton(x, target, float(np.log(frauds / genuine)))
    if slope < _SLOPE_MIN:
        # A ranking no better than chance on the held-out rows: state the base rate, keep the order.
        slope, intercept = _SLOPE_MIN, float(np.log(frauds / genuine) - _SLOPE_MIN * x.mean())
    return Calibration(slope, intercept)


def _newton(
    x: npt.NDArray[np.float64], target: npt.NDArray[np.float64], intercept: float
) -> tuple[float, float]:
    """Minimise the cross entropy; steps are halved until they improve it."""
    beta = np.array([0.0, intercept])
    design = np.stack([x, np.ones_like(x)], axis=1)
    loss = _cross_entropy(design @ beta, target)
    for _ in range(_STEPS_MAX):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while _cross_entropy(design @ (beta - scale * step), target) > loss and scale > 1e-10:
            scale /= 2
        beta = beta - scale * step
        improved = loss - _cross_entropy(design @ beta, target)
        loss -= improved
        if improved < 1e-12 * max(loss, 1.0):
            break
    return float(beta[0]), float(beta[1])


def _cross_entropy(log_odds: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0.0, log_odds) - target * log_odds))
