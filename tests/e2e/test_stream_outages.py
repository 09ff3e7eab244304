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
from stream_oracle import assert_alerts_right, assert_log_right
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


def test_a_stream_ends_in_order_while_no_broker_answers(
    own_services: tuple[Path, Fresh], bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    folder, fresh = own_services
    services.up(embedded_settings(folder))
    topics = new_topics(fresh, tmp_path)
    half = history.height // 2
    topics.send_labels(history)
    topics.send(history[:half], labels=False)
    with topics.stream(bundle) as stream:
        stream.await_decisions(half)
        assert services.down(folder, only=["kafka"]) == ["kafka"]
        assert stream.stop() == 0
    services.up(embedded_settings(folder), only=["kafka"])
    with topics.follow() as log, topics.stream(bundle) as stream:
        topics.send(history[half:], labels=False)
        log.await_count(history.height, 60)
        assert stream.stop() == 0
    assert_log_right(log.valid, history.height, bundle, history)
    assert_alerts_right(topics, log.valid)
