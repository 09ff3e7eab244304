"""Where the table `transactions` has rows, newest first: its partitions are days, in UTC.

Pure: names of partitions in, spans out. Rows that have no day of their own are in the partition `other`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DAY_MICROS", "Span", "chunks", "spans"]

DAY_MICROS = 86_400_000_000
"""Microseconds of a day."""

_DAY_NAME = re.compile(r"transactions_(\d{4})(\d{2})(\d{2})")


class Span(NamedTuple):
    """A stretch of time in microseconds since 1970 UTC, the end excluded."""

    low: int
    high: int


def spans(partitions: Iterable[str], other: Span | None, bounds: Span) -> list[Span]:
    """Return disjoint spans within the bounds, newest first; each lies in one partition.

    Parameters
    ----------
    partitions
        Names of all partitions.
    other
        Times in the partition without a day of its own; `None`: it is empty.
    bounds
        What is wanted.

    """
    days = sorted((day for name in partitions if (day := _day(name)) is not None), reverse=True)
    found: list[Span] = []
    top = bounds.high
    for day in days:
        found += _within(Span(day + DAY_MICROS, top), other, bounds)
        found += _within(Span(day, day + DAY_MICROS), bounds, bounds)
        top = day
    found += _within(Span(bounds.low, top), other, bounds)
    return found


def chunks(found: Iterable[Span]) -> Iterator[Span]:
    """Yield spans that cover these, newest first: one, then one, two, four together, and so on."""
    waiting = list(found)
    size = 1
    first = True
    while waiting:
        taken, waiting = waiting[:size], waiting[size:]
        yield Span(taken[-1].low, taken[0].high)
        size = size if first else size * 2
        first = False


def _day(name: str) -> int | None:
    told = _DAY_NAME.fullmatch(name)
    if told is None:
        return None
    year, month, date = map(int, told.groups())
    return int(datetime(year, month, date, tzinfo=UTC).timestamp()) * 1_000_000


def _within(span: Span, other: Span | None, bounds: Span) -> list[Span]:
    if other is None:
        return []
    cut = Span(max(span.low, other.low, bounds.low), min(span.high, other.high, bounds.high))
    return [cut] if cut.low < cut.high else []
