"""A small trained bundle for tests that need a model that decides, not a good one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
from small_history import small_history

from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train

__all__ = ["scoring_bundle", "small_bundle"]


def small_bundle(
    history: pl.DataFrame, out: Path, booster: BoosterOptions, forest: ForestOptions, *, test_days: int = 14
) -> Path:
    """Train on one thread, write the bundle to `out`, and return where it is."""
    options = TrainOptions(booster=booster, forest=forest, test_span=timedelta(days=test_days), threads=1)
    return train(history, options, out).bundle.path


def scoring_bundle(folder: Path) -> Path:
    """Train the smallest bundle into `folder`, for tests of the scoring service."""
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), folder / "model", booster, forest)
