"""The rows a reader refuses: number, field, value and reason, collected without stopping the job.

A value is shown clipped, and digits that could be a card number (13 to 19 of them, Luhn-valid) are never
shown at all: a rejection ends up in logs and tickets.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

__all__ = ["REJECTION_SCHEMA", "Rejections"]

REJECTION_SCHEMA: Final = {
    "row": pl.UInt64(),
    "field": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),
}
"""Columns of a rejection frame: record number from 1, schema column, offending value, reason."""

_VALUE_CHARS_MAX: Final = 64
_LONG_DIGITS: Final = re.compile(r"\d(?:[ -]?\d){12,18}")


class Rejections:
    """Collects refused rows. Not thread-safe; one per file."""

    def __init__(self) -> None:
        """Start with no rejection."""
        self._rows: list[tuple[int, str, str | None, str]] = []

    def __len__(self) -> int:
        """Return the number of rejections; a row with two bad fields counts twice."""
        return len(self._rows)

    def add(self, row: int, field: str, value: object, reason: str) -> None:
        """Record that `row` was refused because `field` holds `value`; `reason` completes the sentence."""
        self._rows.append((row, field, None if value is None else _shown(value), reason))

    def clear(self) -> None:
        """Forget them."""
        self._rows.clear()

    def frame(self) -> pl.DataFrame:
        """Return the rejections in row order, with the columns of `REJECTION_SCHEMA`."""
        return pl.DataFrame(self._rows, schema=REJECTION_SCHEMA, orient="row").sort(
            "row", maintain_order=True
        )


def _shown(value: object) -> str:
    text = _LONG_DIGITS.sub(_redacted, str(value))
    return text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "..."


def _redacted(match: re.Match[str]) -> str:
    digits = [int(character) for character in match.group() if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "[card number]" if (sum(digits[::-2]) + sum(doubled)) % 10 == 0 else match.group()
