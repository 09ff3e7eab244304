"""Figures from what Redis counts: percentiles inside buckets, and minutes with and without latencies."""

from __future__ import annotations

import math

import pytest

from fraudengine.stores.summary import counts, latencies, within


def test_a_minute_holds_counts_amounts_and_latencies_apart() -> None:
    minute = {
        "transactions": "3",
        "blocked": "1",
        "approved": "2",
        "amount_minor:block:EUR": "500",
        "amount_minor:approve:---": "70",
        "latency:1000": "2",
        "latency:inf": "1",
    }
    told = counts([minute], 60.0)
    assert (told.transactions, told.approved, told.blocked) == (3, 2, 1)
    assert told.amounts == {("block", "EUR"): 500, ("approve", None): 70}
    assert latencies(minute) == {1_000.0: 2, math.inf: 1}
    assert latencies({}) == {}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0.0), (0.25, 500.0), (0.5, 1_000.0), (0.75, 1_500.0), (1.0, 2_000.0)]
)
def test_a_percentile_is_spread_evenly_inside_its_bucket(share: float, expected: float) -> None:
    assert within({1_000.0: 10, 2_000.0: 10}, share) == pytest.approx(expected)


def test_a_percentile_beyond_the_last_bound_is_infinite_and_without_decisions_unknown() -> None:
    assert within({1_000.0: 1, math.inf: 9}, 0.5) == math.inf
    assert within({}, 0.5) is None
    assert within({1_000.0: 0}, 0.5) is None
    # Empty buckets between do not stretch the one that holds it.
    assert within({250.0: 0, 500.0: 4}, 0.5) == pytest.approx(375.0)
