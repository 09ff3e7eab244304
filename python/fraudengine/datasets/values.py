"""Plain values: identifiers, codes, coordinates and verdicts, by column and one by one.

Each kind is a pair: a columnar conversion that gives null where it is not sure, and a scalar one that
settles those values or says what is wrong with them. Nothing is coerced beyond the way a number is
written: `5411`, `5411.0` and `"5411"` are the same code, `"grocery"` is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

__all__ = ["plain_converter"]

Columnar = Callable[[pl.Series], pl.Series]
Scalar = Callable[[object], tuple[object, str]]

# Integers of at most 2^53 are exact in a float; a larger "integer" identifier has already lost digits.
_FLOAT_INTEGER_MAX: Final = 1 << 53
_TRUE: Final = ("1", "true", "True", "TRUE", "1.0")
_FALSE: Final = ("0", "false", "False", "FALSE", "0.0")
_INT32_MAX: Final = (1 << 31) - 1


def plain_converter(name: str, dtype: pl.DataType) -> tuple[Columnar, Scalar]:
    """Return the two conversions of a schema column that is neither an amount nor a time."""
    if name == "is_fraud":
        return _to_verdict, _read_verdict
    if dtype == pl.String():
        return _to_text, _read_text
    if dtype.is_float():
        return _to_float, _read_float
    return _to_integer, _read_integer


def _to_text(source: pl.Series) -> pl.Series:
    if source.dtype.is_float():
        return _whole(source).cast(pl.String)
    return source.cast(pl.String, strict=False)


def _read_text(value: object) -> tuple[object, str]:
    if isinstance(value, float):
        return None, "is not an identifier (a number with decimals, or too large to be exact)"
    return None, "is not valid UTF-8" if isinstance(value, bytes) else "is not a text"


def _whole(source: pl.Series) -> pl.Series:
    """Return the floats that are exact integers as Int64, null for the others (NaN included)."""
    exact = (source == source.floor()) & (source.abs() <= _FLOAT_INTEGER_MAX)
    return pl.select(pl.when(exact).then(source)).to_series().cast(pl.Int64, strict=False)


def _to_integer(source: pl.Series) -> pl.Series:
    whole = _whole(source) if source.dtype.is_float() else source
    return whole.cast(pl.Int32, strict=False)


def _read_integer(value: object) -> tuple[object, str]:
    number, reason = _read_float(value)
    if reason or number is None:
        return None, reason
    if not float(number).is_integer() or abs(number) > _INT32_MAX:
        return None, "is not a whole number below 2^31"
    return int(number), ""


def _to_float(source: pl.Series) -> pl.Series:
    if source.dtype == pl.Boolean:
        return pl.repeat(None, len(source), dtype=pl.Float64, eager=True)
    return source.cast(pl.Float64, strict=False).fill_nan(None)


def _read_float(value: object) -> tuple[float | None, str]:
    try:
        number = float(str(value))
    except ValueError:
        return None, "is not a number"
    # NaN is how many tools write "absent"; an infinity is nobody's way to write anything.
    if number != number:
        return None, ""
    if number in (float("inf"), float("-inf")):
        return None, "is not a finite number"
    return number, ""


def _to_verdict(source: pl.Series) -> pl.Series:
    if source.dtype == pl.Boolean:
        return source.cast(pl.Int8)
    text = _to_text(source)
    chosen = pl.when(text.is_in(_TRUE)).then(1).when(text.is_in(_FALSE)).then(0)
    return pl.select(chosen.cast(pl.Int8)).to_series()


def _read_verdict(value: object) -> tuple[object, str]:
    if isinstance(value, float) and value != value:
        return None, ""
    return None, "is not a verdict (0 or 1, true or false)"
