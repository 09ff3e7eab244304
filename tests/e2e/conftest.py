"""Fixtures of the end-to-end tests: a trained bundle, its history, and a set of topics of one's own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from service_stack import Fresh
from small_bundle import small_bundle
from small_history import disorderly_history
from stream_topics import Topics, new_topics

from fraudengine.training import BoosterOptions, ForestOptions


@pytest.fixture(scope="session")
def history() -> pl.DataFrame:
    """Return a history with everything that a log may bring."""
    return disorderly_history(customers=300, merchants=80, days=60, late_rate=0.01, late_seconds_max=14_400)


@pytest.fixture(scope="session")
def bundle(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small bundle trained on the history."""
    booster, forest = BoosterOptions(trees=20, depth=4), ForestOptions(trees=10, rows_per_tree=64)
    return small_bundle(history, tmp_path_factory.mktemp("bundle") / "model", booster, forest)


@pytest.fixture
def topics(fresh: Fresh, tmp_path: Path) -> Topics:
    """Return new topics."""
    return new_topics(fresh, tmp_path)
