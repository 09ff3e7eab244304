"""The load test without a server: what it sends, how it sums up, what it draws."""

from __future__ import annotations

import itertools
import time
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from load_requests import requests

from fraudengine.client.connection import Connection
from fraudengine.errors import ConfigError
from fraudengine.loadtest import Plan, Summary
from fraudengine.loadtest.plot import percentile_plot
from fraudengine.loadtest.requests import pool
from fraudengine.loadtest.summary import Sent, percentiles_ms
from fraudengine.wire.scoring_pb2 import ScoreBatchRequest, ScoreRequest

SERVICE = Connection(address="127.0.0.1:1")


def summary(latencies_ms: list[float], **plan: Any) -> Summary:
    sent = Sent(
        latencies_ns=(np.array(latencies_ms) * 1e6).astype(np.int64),
        rejections_ns=np.array([2_000_000], np.int64),
        delays_ns=np.full(len(latencies_ms), 1_000_000, np.int64),
        statuses={"OK": len(latencies_ms)},
        outcomes={"approve": 3, "block": 1, "degraded": 1, "refused": 2},
        seconds=2.0,
        busy=0.25,
    )
    return Summary.of(Plan(connection=SERVICE, calls=max(1, len(latencies_ms)), **plan), sent)


def test_requests_are_whole_transactions_with_new_ids_and_the_time_of_now() -> None:
    encoded = pool(1, 50)
    assert len(encoded) == 50
    begin = time.time_ns() // 1_000
    made = [ScoreRequest.FromString(each) for each in itertools.islice(requests(encoded, "r", 0), 60)]
    asked = [each.transaction for each in made]
    assert [each.transaction_id for each in asked] == [f"r-{number}" for number in range(60)]
    assert all(begin <= each.event_time_micros <= time.time_ns() // 1_000 for each in asked)
    assert asked[0].customer_id == asked[50].customer_id
    assert all(each.customer_id and each.HasField("amount_minor") for each in asked)
    assert len({each.customer_id for each in asked}) > 10


def test_requests_of_many_transactions() -> None:
    made = [ScoreBatchRequest.FromString(each) for each in itertools.islice(requests(pool(1, 9), "r", 4), 3)]
    ids = [each.transaction_id for request in made for each in request.transactions]
    assert ids == [f"r-{number}" for number in range(12)]


def test_the_seed_makes_the_transactions() -> None:
    assert pool(1, 30) == pool(1, 30)
    assert pool(1, 30) != pool(2, 30)


def test_percentiles_are_times_that_were_measured() -> None:
    told = percentiles_ms(np.arange(1, 10_001, dtype=np.int64) * 1_000_000)
    assert told == {
        **{"p50": 5_001.0, "p75": 7_501.0, "p90": 9_001.0, "p95": 9_501.0, "p99": 9_901.0},
        **{"p99.9": 9_991.0, "p99.99": 10_000.0, "max": 10_000.0, "mean": 5_000.5},
    }
    assert set(percentiles_ms(np.array([], np.int64)).values()) == {None}


def test_a_summary_counts_transactions_and_calls() -> None:
    told = summary([1.0, 2.0, 10.0], rate=5.0).as_dict()
    assert (told["loop"], told["seconds"], told["calls_per_second"]) == ("open", 2.0, 1.5)
    assert told["sender_busy"] == 0.25
    assert told["rejection_ms"]["p99"] == 2.0
    assert told["decided"] == {"approve": 3, "review": 0, "block": 1}
    assert (told["transactions_per_second"], told["refused"], told["degraded_share"]) == (2.0, 2, 0.25)
    assert (told["latency_ms"]["p50"], told["send_delay_ms"]["p99"]) == (2.0, 1.0)
    closed = summary([1.0]).as_dict()
    assert closed["loop"] == "closed"
    assert "send_delay_ms" not in closed


def test_the_plot_is_a_document_whose_curve_rises_to_the_slowest_call() -> None:
    drawn = ElementTree.fromstring(percentile_plot(summary([1.0] * 900 + [4.0] * 90 + [20.0] * 10)))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    points = drawn.find("{http://www.w3.org/2000/svg}polyline")
    assert points is not None
    heights = [float(point.split(",")[1]) for point in points.attrib["points"].split()]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] == 14.0  # the top: 20 ms is a round number
    assert percentile_plot(summary([])).startswith("<svg")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"calls": 0}, "calls is 0, must be 1 to 50,000,000"),
        ({"concurrency": 10_001}, "concurrency is 10001"),
        ({"threads": 0}, "threads is 0, must be 1 to 64"),
        ({"rate": 0.0}, r"rate is 0\.0, must be above 0"),
        ({"batch": 4_097}, "batch is 4097, must be 1 to 4096"),
    ],
)
def test_a_plan_out_of_range_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan(**{"connection": SERVICE, "calls": 1, **told})
