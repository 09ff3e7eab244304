"""Spans of the partitions, and figures from counts."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fraudengine.stores.days import DAY_MICROS, Span, chunks, spans
from fraudengine.stores.records import order_of
from fraudengine.stores.summary import counts, of_histogram, of_sample

FIRST = 1_709_251_200_000_000
"""2024-03-01."""
DAYS = ["transactions_20240301", "transactions_other", "transactions_20240302", "transactions_20240304"]
EVER = Span(0, FIRST + 1_000 * DAY_MICROS)


def day(number: int, length: int = 1) -> Span:
    return Span(FIRST + number * DAY_MICROS, FIRST + (number + length) * DAY_MICROS)


def test_spans_are_the_days_newest_first() -> None:
    assert spans(DAYS, None, EVER) == [day(3), day(1), day(0)]


def test_rows_without_a_day_are_looked_for_between_the_days() -> None:
    other = Span(FIRST - 5, FIRST + 10 * DAY_MICROS)
    found = spans(DAYS, other, EVER)
    assert found == [day(4, 6), day(3), day(2), day(1), day(0), Span(FIRST - 5, FIRST)]
    assert spans([], other, EVER) == [other]


def test_spans_keep_to_what_is_wanted() -> None:
    wanted = Span(FIRST + 7, FIRST + DAY_MICROS + 9)
    assert spans(DAYS, None, wanted) == [
        Span(FIRST + DAY_MICROS, FIRST + DAY_MICROS + 9),
        Span(FIRST + 7, FIRST + DAY_MICROS),
    ]
    assert spans(DAYS, Span(0, 2**52), Span(FIRST + 2 * DAY_MICROS, FIRST + 2 * DAY_MICROS + 1)) == [
        Span(FIRST + 2 * DAY_MICROS, FIRST + 2 * DAY_MICROS + 1)
    ]


def test_chunks_cover_all_spans_and_grow() -> None:
    days = [day(-number) for number in range(20)]
    found = list(chunks(days))
    lengths = [(each.high - each.low) // DAY_MICROS for each in found]
    assert lengths == [1, 1, 2, 4, 8, 4]
    assert (found[0].high, found[-1].low) == (days[0].high, days[-1].low)
    assert all(earlier.high == later.low for later, earlier in pairwise(found))


def test_counts_add_up() -> None:
    minutes = [
        {"transactions": "3", "approved": "2", "blocked": "1", "amount_minor:block:EUR": "500"},
        {"transactions": "1", "reviewed": "1", "amount_minor:block:EUR": "7", "amount_minor:review:---": "9"},
        {},
    ]
    told = counts(minutes, 60.0)
    assert (told.transactions, told.approved, told.reviewed, told.blocked) == (4, 2, 1, 1)
    assert told.amounts == {("block", "EUR"): 507, ("review", None): 9}
    assert (told.share(told.blocked), counts([], 1.0).share(0)) == (0.25, 0.0)


def test_percentiles_of_a_histogram_are_upper_bounds() -> None:
    told = {"250": "90", "1000": "9", "inf": "1", "sum_micros": "12345", "count": "100"}
    latency = of_histogram(told)
    assert latency is not None
    assert (latency.count, latency.mean_micros) == (100, 123.45)
    assert (latency.p50_micros, latency.p95_micros, latency.p99_micros) == (250, 1_000, 1_000)
    assert latency.p999_micros == -1
    assert of_histogram({}) is None


def test_percentiles_of_a_sample() -> None:
    latency = of_sample(list(range(1_000, 0, -1)))
    assert latency is not None
    assert (latency.p50_micros, latency.p99_micros, latency.p999_micros) == (501, 991, 1_000)
    assert of_sample([]) is None


@pytest.mark.parametrize("cursor", ["", "1", "-1", "1-", "a-1", "1-a", "1-2-3", "\u00b2-1"])
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        order_of(cursor)
    assert order_of("1700000000000-9") < order_of("1700000000000-10") < order_of("1700000000001-0")
