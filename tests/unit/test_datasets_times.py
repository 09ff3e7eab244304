"""Event times: every unit and notation gives the same microsecond, and what cannot be a time is refused."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.datasets import ReadOptions, TimeUnit
from fraudengine.datasets.times import TimeReader
from fraudengine.errors import SchemaError
from fraudengine.schema import EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS

SECONDS = st.integers(EVENT_TIME_MIN_MICROS // 10**6, EVENT_TIME_MAX_MICROS // 10**6 - 1)


def read(
    values: list[object], dtype: pl.DataType | type[pl.DataType], **options: object
) -> list[dt.datetime | None]:
    reader = TimeReader.of(ReadOptions(**options))  # type: ignore[arg-type]  # options of the test's table
    column = pl.Series("when", values, dtype=dtype)
    times, unit, _ = reader.convert(column, "when")
    kept = times.to_list()
    return [
        time if time is not None else reader.explain(value, unit)[0]
        for time, value in zip(kept, values, strict=True)
    ]


@given(SECONDS)
def test_every_unit_is_detected(seconds: int) -> None:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    for factor in (1, 10**3, 10**6, 10**9):
        assert read([seconds * factor], pl.Int64) == [moment]
        assert read([str(seconds * factor)], pl.String) == [moment]
    assert read([float(seconds)], pl.Float64) == [moment]
    for text in (moment.isoformat(), moment.isoformat(" "), moment.strftime("%Y-%m-%dT%H:%M:%SZ")):
        assert read([text], pl.String) == [moment]


def test_mixed_notations_are_read_one_by_one() -> None:
    texts: list[object] = [
        "2024-01-01T10:00:00Z",
        "2024-01-01T10:00:00Z",
        "2024-01-01T12:00+02:00",
        "2024-01-01 10:00:00",
    ]
    assert set(read(texts, pl.String)) == {dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)}


def test_a_pattern_reads_what_is_not_iso() -> None:
    assert read(["31/12/2023 23:59"], pl.String, time_format="%d/%m/%Y %H:%M") == [
        dt.datetime(2023, 12, 31, 23, 59, tzinfo=dt.UTC)
    ]


def test_local_times_are_moved_and_the_hours_of_a_clock_change_are_refused() -> None:
    local: list[object] = ["2024-07-01 12:00:00", "2024-03-31 02:30:00", "2024-10-27 02:30:00"]
    assert read(local, pl.String, time_zone="Europe/Paris") == [
        dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC),
        None,
        None,
    ]
    reader = TimeReader.of(ReadOptions(time_zone="Europe/Paris"))
    assert reader.explain(local[1], None)[1] == "does not exist once in Europe/Paris (clock change)"


def test_typed_columns_are_taken_as_they_are() -> None:
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, 123_456, tzinfo=dt.UTC)
    assert read([moment], pl.Datetime("ns", "Asia/Tokyo")) == [moment]
    assert read([dt.date(2024, 5, 6)], pl.Date) == [dt.datetime(2024, 5, 6, tzinfo=dt.UTC)]


@pytest.mark.parametrize(
    ("value", "unit", "reason"),
    [
        ("soon", None, "is not a time (ISO 8601)"),
        ("1999-12-31", None, "is outside 2000-01-01 to 2100-01-01"),
        ("9999-12-31T23:59:59-12:00", None, "is outside 2000-01-01 to 2100-01-01"),
        ("0001-01-01T00:00:00+12:00", None, "is outside 2000-01-01 to 2100-01-01"),
        ("x", TimeUnit.SECONDS, "is not a number of s since 1970"),
        (float("nan"), TimeUnit.MILLIS, "is outside 2000-01-01 to 2100-01-01 in ms since 1970"),
        (10**18, TimeUnit.SECONDS, "is outside 2000-01-01 to 2100-01-01 in s since 1970"),
    ],
)
def test_refusals_say_why(value: object, unit: TimeUnit | None, reason: str) -> None:
    assert TimeReader.of(ReadOptions()).explain(value, unit) == (None, reason)


def test_numbers_that_fit_no_unit_are_refused_as_a_column() -> None:
    with pytest.raises(SchemaError, match="around 17, no time between 2000 and 2100"):
        read([17, 17], pl.Int64)
    with pytest.raises(SchemaError, match="drop --time-unit iso"):
        read([17], pl.Int64, time_unit=TimeUnit.ISO)


def test_absurd_numbers_among_good_ones_are_lost_alone() -> None:
    assert read([1_704_067_200, 2**63 - 1, 1_704_067_200, -5], pl.Int64)[1::2] == [None, None]
