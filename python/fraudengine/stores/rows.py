"""From rows of PostgreSQL to records. The order of the columns here is the order of the constructors."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from fraudengine import _native
from fraudengine.schema import CHANNELS
from fraudengine.stores.records import ACTIONS, Alert, Reason, StoredTransaction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ALERT_COLUMNS",
    "FOUND_COLUMNS",
    "LISTED_COLUMNS",
    "STATE_COLUMNS",
    "alert_of",
    "alert_state",
    "catalogue",
    "found",
    "listed",
    "micros",
    "moment",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATE, _COARSE, _WITHOUT_MODEL = 2, 4, 8

ALERT_COLUMNS = (
    "transaction_id, event_time, decided_time, customer_id, card_id, device_id, merchant_id, ip_address, "
    "amount_minor, currency, channel, merchant_category, country, score, anomaly, action, flags, reasons, "
    "decision_offset"
)
"""Columns that `alerts` and `transactions` share."""

STATE_COLUMNS = "status, verdict, analyst, note, status_time, snoozed_until"
"""What analysts did about an alert."""

LISTED_COLUMNS = (
    ALERT_COLUMNS + ", latitude, longitude, latency_micros, source_partition, source_offset, model"
)
"""Columns of a transaction in a list."""

FOUND_COLUMNS = LISTED_COLUMNS + ", catalogue, features"
"""Columns of a transaction by itself."""


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970 UTC."""
    return (time - _EPOCH) // _MICROSECOND


def moment(time_micros: int) -> datetime:
    """Return microseconds since 1970 UTC as a time; they are in the range of event times."""
    return _EPOCH + timedelta(microseconds=time_micros)


def alert_of(row: Sequence[Any]) -> StoredTransaction:
    """Return what `ALERT_COLUMNS` hold."""
    return StoredTransaction(**_shared(row))


def alert_state(row: Sequence[Any]) -> Alert:
    """Return what `STATE_COLUMNS` hold."""
    status, verdict, analyst, note, at, until = row
    return Alert(
        status,
        verdict,
        analyst,
        note,
        None if at is None else micros(at),
        None if until is None else micros(until),
    )


def listed(row: Sequence[Any]) -> StoredTransaction:
    """Return what `LISTED_COLUMNS` hold."""
    return StoredTransaction(**_shared(row), **_more(row))


def found(row: Sequence[Any]) -> StoredTransaction:
    """Return what `FOUND_COLUMNS` hold."""
    return StoredTransaction(**_shared(row), **_more(row), features=_features(row[25], row[26]))


def reasons_of(told: Sequence[Mapping[str, Any]] | None) -> tuple[Reason, ...]:
    """Return reasons from their JSON."""
    return tuple(Reason(each["feature"], each["value"], each["contribution"]) for each in told or ())


def _shared(row: Sequence[Any]) -> dict[str, Any]:
    flags = row[16]
    return {
        "transaction_id": row[0],
        "event_time_micros": micros(row[1]),
        "decided_time_micros": micros(row[2]),
        "customer_id": row[3],
        "card_id": row[4],
        "device_id": row[5],
        "merchant_id": row[6],
        "ip_address": row[7],
        "amount_minor": row[8],
        "currency": row[9],
        "channel": None if row[10] is None else CHANNELS[row[10] - 1],
        "merchant_category": row[11],
        "country": row[12],
        "score": row[13],
        "anomaly": row[14],
        "action": ACTIONS[row[15] - 1],
        "late": bool(flags & _LATE),
        "coarse": bool(flags & _COARSE),
        "without_model": bool(flags & _WITHOUT_MODEL),
        "reasons": reasons_of(row[17]),
        "decision_offset": row[18],
    }


def _more(row: Sequence[Any]) -> dict[str, Any]:
    model = row[24]
    return {
        "latitude": row[19],
        "longitude": row[20],
        "latency_micros": row[21],
        "source_partition": row[22],
        "source_offset": row[23],
        "model": None if model is None else model % 2**64,
    }


def _features(theirs: int | None, values: Sequence[float] | None) -> dict[str, float | None] | None:
    names, ours = catalogue()
    if values is None or theirs is None or theirs % 2**64 != ours or len(values) != len(names):
        return None
    return {name: value if math.isfinite(value) else None for name, value in zip(names, values, strict=True)}


@cache
def catalogue() -> tuple[tuple[str, ...], int]:
    """Return the names of the features in their order, and the first 8 bytes of the catalogue's hash."""
    names = tuple(name for name, *_ in _native.catalogue_features())
    return names, int(_native.catalogue_hash()[:16], 16)
