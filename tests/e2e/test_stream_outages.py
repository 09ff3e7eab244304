"""Services that go away for a while: decisions go on where they can, memory stays flat, nothing is lost.

The outages here are short; `FRAUDENGINE_OUTAGE_SECONDS=60` makes them as long as `benchmarks/outages.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from service_stack import Fresh, embedded_settings
from stream_topics import new_topics

import outages
from fraudengine import services

SECONDS = float(os.environ.get("FRAUDENGINE_OUTAGE_SECONDS", "6"))


@pytest.fixture(scope="module")
def own_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Fresh]]:
    """Yield services that only these tests use, and names on them."""
    with outages.own_services() as own:
        yield own


@pytest.mark.parametrize(
    "outage", [outages.postgres_down, outages.postgres_hung, outages.redis_down, outages.broker_down]
)
def test_an_outage_loses_nothing(
    outage: Callable[[outages.Outage], dict[str, Any]],
    own_services: tuple[Path, Fresh],
    bundle: Path,
    history: pl.DataFrame,
    tmp_path: Path,
) -> None:
    folder, fresh = own_services
    services.up(embedded_settings(folder))
    outage(outages.Outage(folder, fresh, new_topics(fresh, tmp_path), bundle, history, SECONDS))
