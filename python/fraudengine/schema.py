"""The transaction schema as Arrow, polars, CSV and JSON see it: the twin of `proto/fraudengine/v1`.

One definition: `tests/unit/test_schema.py` compiles the proto and compares it with `COLUMNS` field by
field. Here are names, types, units and meaning. The limits of each value are enforced by the native
engine, row by row; the few that a reader needs before it (amount and time ranges) are repeated here and
a test holds them against `native/core/src/limits.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

__all__ = [
    "AMOUNT_MINOR_MAX",
    "CHANNELS",
    "COLUMNS",
    "EVENT_TIME_MAX_MICROS",
    "EVENT_TIME_MIN_MICROS",
    "LABEL_COLUMNS",
    "REQUIRED_COLUMNS",
    "TIME",
    "TRANSACTION_COLUMNS",
    "Column",
    "empty_frame",
    "polars_schema",
]

TIME: Final = pl.Datetime("us", "UTC")
"""Type of every time column: microseconds since 1970-01-01 UTC."""

AMOUNT_MINOR_MAX: Final = 100_000_000_000
"""Largest amount of one transaction, in minor units of its currency."""

EVENT_TIME_MIN_MICROS: Final = 946_684_800_000_000
"""First accepted event time, 2000-01-01, in microseconds since 1970-01-01 UTC."""

EVENT_TIME_MAX_MICROS: Final = 4_102_444_800_000_000
"""First event time no longer accepted, 2100-01-01, in microseconds since 1970-01-01 UTC."""

CHANNELS: Final = ("card_present", "contactless", "ecommerce", "moto", "atm", "transfer", "wallet")
"""Accepted values of `channel`, in the order of the codes of the proto enumeration."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a history.

    Attributes
    ----------
    name
        Column name in Parquet, CSV, JSON and polars.
    dtype
        polars type of the canonical frame.
    proto_name
        Name of the field on the wire; it differs only where the unit must be said (`_micros`).
    required
        Whether every row needs a value; a row without one is refused.
    label
        Whether the column is about what became known later; a label column is never a model input.
    meaning
        One line: unit, range and what a missing value says.
    """

    name: str
    dtype: pl.DataType
    proto_name: str
    required: bool
    label: bool
    meaning: str


def _column(
    name: str, dtype: pl.DataType, meaning: str, *, required: bool = False, label: bool = False
) -> Column:
    proto_name = f"{name}_micros" if isinstance(dtype, pl.Datetime) else name
    return Column(name, dtype, proto_name, required, label, meaning)


COLUMNS: Final = (
    _column("transaction_id", pl.String(), "identifier, 1 to 128 bytes of UTF-8", required=True),
    _column("event_time", TIME, "when it was paid, UTC, 2000-01-01 to 2100-01-01", required=True),
    _column("customer_id", pl.String(), "account holder, 1 to 128 bytes of UTF-8", required=True),
    _column("card_id", pl.String(), "card token, never a card number; missing: not known"),
    _column("device_id", pl.String(), "device or browser; missing: not known"),
    _column("merchant_id", pl.String(), "merchant or terminal that is paid; missing: not known"),
    _column("ip_address", pl.String(), "address the payment came from; missing: not known"),
    _column(
        "amount_minor",
        pl.Int64(),
        "amount in minor units of the currency, 0 (an account verification) to 10^11",
        required=True,
    ),
    _column("currency", pl.String(), "ISO 4217 code; missing: the engine's reference currency"),
    _column("channel", pl.String(), f"one of {', '.join(CHANNELS)}; missing: not known"),
    _column("merchant_category", pl.Int32(), "ISO 18245 code, 0 to 9999; missing: not known"),
    _column("country", pl.String(), "ISO 3166-1 alpha-2 code of the place of payment; missing: not known"),
    _column("latitude", pl.Float64(), "degrees north, -90 to 90; missing: not known"),
    _column("longitude", pl.Float64(), "degrees east, -180 to 180; missing: not known"),
    _column("is_fraud", pl.Int8(), "1 fraud, 0 legitimate; missing: not known", label=True),
    _column("label_known_time", TIME, "when the verdict became known; missing: see the delay", label=True),
    _column(
        "typology",
        pl.String(),
        "kind of fraud, 1 to 128 bytes of UTF-8, for reports only; missing: not known",
        label=True,
    ),
)
"""Every column of a canonical history, in the order of the frame."""

TRANSACTION_COLUMNS: Final = tuple(column.name for column in COLUMNS if not column.label)
"""Names of the columns that are known when the payment is made."""

LABEL_COLUMNS: Final = tuple(column.name for column in COLUMNS if column.label)
"""Names of the columns that become known later."""

REQUIRED_COLUMNS: Final = tuple(column.name for column in COLUMNS if column.required)
"""Names of the columns without which a row is refused."""


def polars_schema() -> dict[str, pl.DataType]:
    """Return the column types of a canonical history, in order.

    Examples
    --------
    >>> from fraudengine.schema import polars_schema
    >>> polars_schema()["amount_minor"]
    Int64
    """
    return {column.name: column.dtype for column in COLUMNS}


def empty_frame() -> pl.DataFrame:
    """Return a canonical history of zero rows, for joins and as a typed starting point."""
    return pl.DataFrame(schema=polars_schema())
