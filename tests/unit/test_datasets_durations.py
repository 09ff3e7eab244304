"""Durations: every written form, the round trip, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.datasets.durations import format_micros, parse_micros
from fraudengine.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("7d", 604_800_000_000),
        ("12h", 43_200_000_000),
        ("1h30m", 5_400_000_000),
        ("250ms", 250_000),
        ("0", 0),
        ("5us", 5),
    ],
)
def test_written_forms(text: str, micros: int) -> None:
    assert parse_micros(text) == micros


@given(st.integers(min_value=0, max_value=3_000 * 86_400_000_000))
def test_formatting_and_parsing_are_inverse(micros: int) -> None:
    assert parse_micros(format_micros(micros)) == micros


@pytest.mark.parametrize("text", ["7", "", "d", "-7d", "7 d", "7days", "1.5h", "99999999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="duration"):
        parse_micros(text)


def test_negative_durations_have_no_text() -> None:
    with pytest.raises(ConfigError, match="negative"):
        format_micros(-1)
