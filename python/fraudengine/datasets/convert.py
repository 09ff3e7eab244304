"""From raw source columns to canonical ones: types only, and every value that does not fit is counted.

Each column goes through polars at once; the values that come out null although they were there are
looked at one by one, which either rescues them (`1.5e3`) or gives the reason. So a clean file costs no
Python per row, and a dirty value always gets its own sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from fraudengine.datasets.amounts import (
    DIGITS_DEFAULT,
    amounts_to_minor,
    currency_digits,
    minor_digits,
    parse_amount,
)
from fraudengine.datasets.mapping import COLUMNS_BY_NAME, Resolved
from fraudengine.datasets.options import ROW_SOURCE, ReadOptions
from fraudengine.datasets.rejections import Rejections
from fraudengine.datasets.times import TimeReader
from fraudengine.datasets.values import plain_converter
from fraudengine.errors import SchemaError
from fraudengine.schema import TIME

__all__ = ["Converter"]

Scalar = Callable[[int, object], tuple[object, str]]
"""Reads the value at an index of the source the slow way: a result and no reason, or the reason."""


@dataclass(slots=True)
class Converter:
    """Converts the columns of one history.

    Attributes
    ----------
    raw
        Source columns and `@row`.
    resolved
        Which source is which canonical column.
    options
        Units, zone and currency.
    rejections
        Where refused values go.
    notices
        Where guesses go.
    """

    raw: pl.DataFrame
    resolved: Resolved
    options: ReadOptions
    rejections: Rejections
    notices: list[str]

    def convert(self) -> tuple[pl.DataFrame, pl.Series]:
        """Return the canonical frame without the refused rows, and the record number of each row.

        Raises
        ------
        SchemaError
            A whole column has a type that cannot be converted.
        """
        rows = self.raw[ROW_SOURCE]
        kept = pl.repeat(True, len(rows), dtype=pl.Boolean, eager=True)
        converted: dict[str, pl.Series] = {}
        # The currency first: it says how many decimals an amount has.
        for name, column in sorted(COLUMNS_BY_NAME.items(), key=lambda item: item[0] != "currency"):
            if name not in self.resolved.sources:
                converted[name] = pl.repeat(None, len(rows), dtype=column.dtype, eager=True).alias(name)
                continue
            values, good = self._column(name, converted)
            if column.required:
                good = good & self._present(name, values, good)
            converted[name] = values.alias(name)
            kept = kept & good
        frame = pl.DataFrame([converted[name] for name in COLUMNS_BY_NAME])
        return (frame, rows) if kept.all() else (frame.filter(kept), rows.filter(kept))

    def _column(self, name: str, done: dict[str, pl.Series]) -> tuple[pl.Series, pl.Series]:
        """Return the values of a column and which rows are still good."""
        source = self._source(name)
        dtype = COLUMNS_BY_NAME[name].dtype
        values: pl.Series
        scalar: Scalar
        if name == "amount_minor":
            values, scalar = self._amounts(source, done.get("currency"))
        elif dtype == TIME:
            values, scalar = self._times(source)
        else:
            convert, explain = plain_converter(name, dtype)
            values, scalar = convert(source), lambda _, value: explain(value)
        return self._settle(name, source, values, scalar)

    def _source(self, name: str) -> pl.Series:
        """Return the source column, with the empty text of CSV files as missing."""
        source = self.raw[self.resolved.sources[name]]
        if source.dtype in (pl.Categorical, pl.Enum):
            source = source.cast(pl.String)
        if source.dtype.is_nested() or source.dtype in (pl.Object, pl.Duration, pl.Time):
            label = self.resolved.sources[name]
            raise SchemaError(f"column {label!r} is of type {source.dtype}, which cannot be {name}")
        if source.dtype == pl.String:
            empty = source.str.len_bytes() == 0
            if empty.any():
                source = pl.select(pl.when(~empty).then(source)).to_series()
        return source

    def _settle(
        self, name: str, source: pl.Series, values: pl.Series, scalar: Scalar
    ) -> tuple[pl.Series, pl.Series]:
        """Look one by one at the values the columnar path could not convert."""
        doubtful = source.is_not_null() & values.is_null()
        good = ~doubtful
        if not doubtful.any():
            return values, good
        at = doubtful.arg_true()
        rows = self.raw[ROW_SOURCE].gather(at).to_list()
        rescued: list[tuple[int, object]] = []
        for index, row, value in zip(at.to_list(), rows, source.gather(at).to_list(), strict=True):
            result, reason = scalar(index, value)
            if reason:
                self.rejections.add(row, name, value, reason)
            else:
                rescued.append((index, result))
        if rescued:
            indices = pl.Series([index for index, _ in rescued], dtype=pl.UInt32)
            results = pl.Series([result for _, result in rescued], dtype=values.dtype)
            values = values.scatter(indices, results)
            good = good.scatter(indices, True)
        return values, good

    def _present(self, name: str, values: pl.Series, good: pl.Series) -> pl.Series:
        """Refuse the rows that have no value at all in a required column."""
        absent = values.is_null() & good
        for row in self.raw[ROW_SOURCE].filter(absent).to_list():
            self.rejections.add(row, name, None, "is required and missing")
        return ~absent

    def _amounts(self, source: pl.Series, currency: pl.Series | None) -> tuple[pl.Series, Scalar]:
        if not self.resolved.amount_in_major:
            digits = pl.repeat(0, len(source), dtype=pl.Int64, eager=True)
        else:
            default = minor_digits(self.options.currency) if self.options.currency else DIGITS_DEFAULT
            known = (
                currency
                if currency is not None
                else pl.repeat(None, len(source), dtype=pl.String, eager=True)
            )
            digits = currency_digits(known, default)

        def explain(index: int, value: object) -> tuple[object, str]:
            minor, reason = parse_amount(value, digits[index])
            if source.dtype == pl.Float32 and minor is not None:
                return (
                    None,
                    "is not exact in a 32-bit float; store amounts as integers, decimals or 64-bit floats",
                )
            return minor, reason

        return amounts_to_minor(source, digits), explain

    def _times(self, source: pl.Series) -> tuple[pl.Series, Scalar]:
        reader = TimeReader.of(self.options)
        values, unit, notice = reader.convert(source, source.name)
        if notice:
            self.notices.append(notice)
        return values, lambda _, value: reader.explain(value, unit)
