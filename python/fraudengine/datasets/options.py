"""What a reader has to be told about a foreign history, and the formats known by name.

`ReadOptions` is a plain value: it does no I/O, and an invalid combination is refused when it is made, so
that a mistake on the command line costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from fraudengine.datasets.amounts import minor_digits
from fraudengine.errors import ConfigError
from fraudengine.schema import COLUMNS

__all__ = ["PRESETS", "ROW_SOURCE", "HistoryFormat", "ReadOptions", "TimeUnit"]

ROW_SOURCE: Final = "@row"
"""Source name that stands for the record's number, for histories without a transaction id."""

_CANONICAL: Final = frozenset(column.name for column in COLUMNS)


class HistoryFormat(StrEnum):
    """How a history is stored. CSV has a header line; JSON lines has one object a line; both are UTF-8."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class TimeUnit(StrEnum):
    """How event times are written: a number since 1970-01-01 UTC in a unit, or an ISO 8601 text."""

    SECONDS = "s"
    MILLIS = "ms"
    MICROS = "us"
    NANOS = "ns"
    ISO = "iso"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read a history. The defaults suit a file with the canonical column names.

    Attributes
    ----------
    format
        Storage format; None takes it from the file name (`.parquet`, `.csv`, `.jsonl`, `.ndjson`).
    mapping
        Canonical column to source column, `{"merchant_id": "terminal_id"}`. The source `@row` is the
        number of the record.
    amount_column
        Source column of the amount; the same as mapping `amount_minor`.
    amount_unit
        `"minor"` (cents) or `"major"` (euros, converted exactly or refused). None: minor for a source
        column called `amount_minor` or ending in `_minor` or `_cents`, otherwise major.
    currency
        ISO 4217 code that gives the number of decimals of rows without a currency of their own; it is
        not written into the frame. None: two decimals.
    time_column
        Source column of the event time; the same as mapping `event_time`.
    time_unit
        How times are written. None: detected, and said in a notice.
    time_format
        strftime pattern of textual times that are not ISO 8601, for example `%d/%m/%Y %H:%M`.
    time_zone
        IANA zone of times written without one.
    label_column
        Source column of the verdict; the same as mapping `is_fraud`.
    label_delay_micros
        How long after its transaction a verdict became known, for rows that do not say; microseconds.
        None: `label_known_time` stays missing and whoever uses the labels must choose a delay.

    Raises
    ------
    ConfigError
        Unknown canonical column, the same column given twice, unknown unit, currency or negative delay.
    """

    format: HistoryFormat | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    amount_column: str | None = None
    amount_unit: str | None = None
    currency: str | None = None
    time_column: str | None = None
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    time_zone: str = "UTC"
    label_column: str | None = None
    label_delay_micros: int | None = None

    def __post_init__(self) -> None:
        """Check the values against each other."""
        unknown = sorted(set(self.mapping) - _CANONICAL)
        if unknown:
            raise ConfigError(
                f"{unknown[0]!r} is not a column of the schema: {', '.join(sorted(_CANONICAL))}"
            )
        for canonical, shorthand in self._shorthands().items():
            if shorthand is not None and self.mapping.get(canonical, shorthand) != shorthand:
                raise ConfigError(
                    f"{canonical} is mapped to both {self.mapping[canonical]!r} and {shorthand!r}"
                )
        if self.amount_unit not in (None, "major", "minor"):
            raise ConfigError(f"the amount unit is {self.amount_unit!r}, must be major or minor")
        if self.currency is not None:
            minor_digits(self.currency)
        if self.label_delay_micros is not None and self.label_delay_micros < 0:
            raise ConfigError(f"the label delay is negative: {self.label_delay_micros} us")

    def _shorthands(self) -> dict[str, str | None]:
        return {
            "amount_minor": self.amount_column,
            "event_time": self.time_column,
            "is_fraud": self.label_column,
        }

    @property
    def sources(self) -> Mapping[str, str]:
        """Every canonical column whose source was named, through the mapping or a shorthand."""
        named = {canonical: source for canonical, source in self._shorthands().items() if source is not None}
        return MappingProxyType({**self.mapping, **named})

    @classmethod
    def preset(cls, name: str) -> ReadOptions:
        """Return the options of a history known by name (see `PRESETS`).

        Raises
        ------
        ConfigError
            There is no history of that name.

        Examples
        --------
        >>> from fraudengine.datasets import ReadOptions
        >>> ReadOptions.preset("handbook").mapping["merchant_id"]
        'terminal_id'
        """
        if name not in PRESETS:
            raise ConfigError(f"no history is known as {name!r}; known names: {', '.join(sorted(PRESETS))}")
        return PRESETS[name]

    def updated(self, **changes: object) -> ReadOptions:
        """Return these options with the given attributes replaced; None keeps what is there.

        Mappings are merged, so that a preset can be corrected column by column.
        """
        kept = {name: value for name, value in changes.items() if value is not None}
        mapping = kept.pop("mapping", {})
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"a mapping of columns is needed, not {mapping!r}")
        return replace(self, mapping={**self.mapping, **mapping}, **kept)  # type: ignore[arg-type]  # values are checked by __post_init__


PRESETS: Final[Mapping[str, ReadOptions]] = MappingProxyType(
    {
        "handbook": ReadOptions(
            mapping={
                "transaction_id": "transaction_id",
                "event_time": "event_time",
                "customer_id": "customer_id",
                "merchant_id": "terminal_id",
                "amount_minor": "amount",
                "is_fraud": "label",
            },
            amount_unit="major",
        )
    }
)
"""Histories known by name. `handbook`: the simulated card data of the Fraud Detection Handbook."""
