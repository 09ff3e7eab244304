"""Calibration and thresholds of a bundle, chosen on held-out rows; written as `policy.json`.

`stage` says what the score stands on: `booster` (a calibrated probability of fraud) or `forest` (no
labels: a monotone map of the anomaly, 0.5 where the share `review_fpr` of the training transactions
begins). A forest alone never blocks: unusual is not yet fraud.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fraudengine.training import calibrate, thresholds
from fraudengine.training.options import TrainOptions

__all__ = ["Policy", "as_json", "choose", "cold"]

NEVER = float(np.nextafter(np.float32(1), np.float32(2)))
"""A threshold no score reaches."""


@dataclass(frozen=True)
class Policy:
    """How a margin becomes a score and an action.

    Attributes
    ----------
    stage
        `booster` or `forest`.
    slope, intercept
        Calibration of the margin; of the anomaly when `stage` is `forest`.
    review_from, block_from
        float32 scores from which a transaction is reviewed and blocked.
    expected_cost_minor
        Cost of the validation window at these thresholds, `None` unless chosen by cost.

    """

    stage: str
    slope: float
    intercept: float
    review_from: float
    block_from: float
    expected_cost_minor: float | None = None

    def rank(
        self, anomaly: npt.NDArray[np.float32], margin: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return what the score is made from: the margin, or without a booster the anomaly."""
        return margin if self.stage == "booster" else anomaly

    def score(
        self, anomaly: npt.NDArray[np.float32], margin: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return the score, `float32` 0 to 1."""
        return calibrate.Calibration(self.slope, self.intercept).probability(self.rank(anomaly, margin))

    def actions(self, score: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return 0 approve, 1 review, 2 block, as the native policy does; NaN is reviewed."""
        block = score >= np.float32(self.block_from)
        approve = score < np.float32(self.review_from)
        return np.where(block, 2, np.where(approve, 0, 1)).astype(np.uint8)

    def recorded(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return asdict(self)


def as_json(policy: Policy) -> bytes:
    """Return `policy.json`."""
    return (json.dumps(policy.recorded(), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def choose(
    margin: npt.NDArray[np.float32],
    fraud: npt.NDArray[np.int8],
    amount_minor: npt.NDArray[np.int64],
    options: TrainOptions,
) -> Policy:
    """Calibrate on held-out rows and choose thresholds there.

    Raises
    ------
    TrainingError
        The held-out rows hold no fraud, or nothing but fraud.

    """
    calibration = calibrate.fit(margin, fraud)
    score = calibration.probability(margin)
    cost = None
    if options.costs is None:
        chosen = thresholds.for_rates(fraud, score, options.review_fpr, options.block_fpr)
    else:
        chosen, cost = thresholds.for_costs(fraud, score, amount_minor, options.costs)
    return Policy(
        "booster", calibration.slope, calibration.intercept, chosen.review_from, chosen.block_from, cost
    )


def cold(anomaly: npt.NDArray[np.float32], options: TrainOptions) -> Policy:
    """Map anomalies to scores without labels, and review the most unusual share.

    Parameters
    ----------
    anomaly
        Anomalies of the training rows.
    options
        `review_fpr` and `block_fpr` are the shares that score above 0.5 and 0.9.

    """
    review, high = np.quantile(anomaly.astype(np.float64), [1 - options.review_fpr, 1 - options.block_fpr])
    slope = float(np.log(9.0) / max(high - review, 1e-3))
    return Policy("forest", slope, float(-slope * review), 0.5, NEVER)
