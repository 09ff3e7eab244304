"""A small trained bundle for tests that need a model that decides, not a good one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train

__all__ = ["small_bundle"]


def small_bundle(
    history: pl.DataFrame, out: Path, booster: BoosterOptions, forest: ForestOptions, *, test_days: int = 14
) -> Path:
    """Train on one thread, write the bundle to `out`, and return where it is."""
    options = TrainOptions(booster=booster, forest=forest, test_span=timedelta(days=test_days), threads=1)
    return train(history, options, out).bundle.path
