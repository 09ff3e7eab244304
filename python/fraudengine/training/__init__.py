"""Training: time-based split, booster and forest, calibration, thresholds, evaluation, bundle.

`train` is the whole of it; the modules beside it are its stages, each usable alone.
"""

from __future__ import annotations

from fraudengine.training.options import BoosterOptions, ForestOptions, Progress, TrainOptions
from fraudengine.training.pipeline import TrainResult, train
from fraudengine.training.thresholds import Costs

__all__ = ["BoosterOptions", "Costs", "ForestOptions", "Progress", "TrainOptions", "TrainResult", "train"]
