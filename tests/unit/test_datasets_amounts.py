"""Amounts: the columnar conversion against an independent decimal oracle, and every kind of refusal."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.datasets.amounts import amounts_to_minor, currency_digits, minor_digits, parse_amount
from fraudengine.errors import ConfigError
from fraudengine.schema import AMOUNT_MINOR_MAX

MINOR = st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX)
DIGITS = st.sampled_from([0, 2, 3])


def columnar(values: list[object], digits: int, dtype: pl.DataType | type[pl.DataType]) -> list[int | None]:
    column = pl.Series(values, dtype=dtype)
    return amounts_to_minor(column, pl.Series([digits] * len(values), dtype=pl.Int64)).to_list()


def written(minor: int, digits: int) -> str:
    return str(Decimal(minor).scaleb(-digits))


@given(MINOR, DIGITS)
def test_every_amount_survives_text_float_and_decimal(minor: int, digits: int) -> None:
    text = written(minor, digits)
    assert columnar([text], digits, pl.String) == [minor]
    assert columnar([float(text)], digits, pl.Float64) == [minor]
    assert columnar([Decimal(text)], digits, pl.Decimal(38, 3)) == [minor]
    assert parse_amount(text, digits) == (minor, "")
    assert parse_amount(float(text), digits) == (minor, "")


@given(st.integers(min_value=1, max_value=10**10), DIGITS)
def test_a_digit_too_many_is_refused_in_every_form(minor: int, digits: int) -> None:
    text = written(minor * 10 + 5, digits + 1)
    assert columnar([text], digits, pl.String) == [None]
    assert columnar([float(text)], digits, pl.Float64) == [None]
    assert parse_amount(text, digits) == (None, f"has more than {digits} decimals")


@given(st.floats(), DIGITS)
def test_columns_and_single_values_agree_on_every_float(value: float, digits: int) -> None:
    (minor,) = columnar([value], digits, pl.Float64)
    if minor is not None:
        assert parse_amount(value, digits) == (minor, "")


@given(st.text(alphabet="0123456789.+-eE_ ,", max_size=24), DIGITS)
def test_columns_never_accept_a_text_that_a_decimal_parser_refuses(text: str, digits: int) -> None:
    (minor,) = columnar([text], digits, pl.String)
    if minor is not None:
        assert Decimal(text.strip()).scaleb(digits) == minor


@given(st.lists(st.integers(min_value=1, max_value=10_000_000), min_size=2, max_size=40))
def test_sums_of_cents_in_floating_point_are_recognised(cents: list[int]) -> None:
    total = sum(cent / 100 for cent in cents)
    if abs(total * 100 - sum(cents)) <= sum(cents) * 2.0**-50:
        assert columnar([total], 2, pl.Float64) == [sum(cents)]
        assert parse_amount(total, 2) == (sum(cents), "")


@pytest.mark.parametrize(
    ("value", "digits", "reason"),
    [
        ("abc", 2, "is not a number"),
        ("1,234.50", 2, "is not a number"),
        ("1_000", 2, "is not a number"),
        ("9" * 100, 2, "is not a number"),
        (float("nan"), 2, "is not a finite number"),
        ("Infinity", 2, "is not a finite number"),
        (-3.5, 2, "must not be negative"),
        ("-0.01", 2, "must not be negative"),
        (12.345, 2, "has more than 2 decimals"),
        ("1.5", 0, "has more than 0 decimals"),
        ("1.00000000000000000000000000000000001", 0, ""),
        ("1.2345678901234567890123456789", 2, "has more than 2 decimals"),
        ("1e-400", 2, "has more than 2 decimals"),
        ("1e400", 2, "is above the limit of 100000000000 minor units"),
        ("1000000000.01", 2, "is above the limit of 100000000000 minor units"),
    ],
)
def test_refusals_say_why(value: object, digits: int, reason: str) -> None:
    assert parse_amount(value, digits)[1] == reason


def test_unusual_writings_are_read_one_by_one() -> None:
    assert parse_amount("1.5e3", 2) == (150_000, "")
    assert parse_amount(" +12.5 ", 2) == (1_250, "")
    assert parse_amount("85.69000000000001", 2) == (8_569, "")


def test_integers_never_wrap_around() -> None:
    assert columnar([2**62, 5, -1, 0], 3, pl.Int64) == [None, 5_000, None, 0]
    assert columnar([200], 2, pl.UInt8) == [20_000]


def test_a_32_bit_float_is_taken_only_where_it_is_unambiguous() -> None:
    assert columnar([12.34, 200_000.0], 2, pl.Float32) == [1_234, None]


def test_decimals_follow_the_currency() -> None:
    codes = pl.Series(["JPY", "EUR", "KWD", None, "ZZZ"])
    assert currency_digits(codes, 3).to_list() == [0, 2, 3, 3, 2]
    assert [minor_digits(code) for code in ("JPY", "EUR", "KWD")] == [0, 2, 3]
    with pytest.raises(ConfigError, match="'eur' is not an ISO 4217 code"):
        minor_digits("eur")
