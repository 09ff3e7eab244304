"""Records of the topic `alerts`: which count (see `proto/fraudengine/v1/log.proto`), and what they say."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from fraudengine.schema import CHANNELS, EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS
from fraudengine.stores.records import ACTIONS
from fraudengine.wire import log_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENTITIES", "Alert", "GenerationRule", "read"]

ENTITIES = ("customer", "card", "device", "merchant")
"""What alerts are grouped by and snoozed for."""
_DUPLICATE = 1
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: what routes, groups and messages are made of. Absent texts and numbers are `None`.

    `currency` is never absent: the engine's reference currency stands where the transaction had none.
    `score` is `None` where there was no model.
    """

    offset: int
    transaction_id: str
    event_time_micros: int
    customer: str
    card: str | None
    device: str | None
    merchant: str | None
    amount_minor: int
    currency: str
    channel: str | None
    merchant_category: int | None
    country: str | None
    score: float | None
    action: str
    reasons: tuple[str, ...]

    def entity(self, name: str) -> str | None:
        """Return the id of one of `ENTITIES`."""
        value: str | None = getattr(self, name)
        return value


@dataclass(slots=True)
class GenerationRule:
    """Which records count: those of the newest process that has announced itself.

    The twin of `GenerationRule` in `native/runtime/src/log_reader.rs`.
    """

    highest: int

    def marker(self, offset: int) -> None:
        """Take notice of a marker."""
        self.highest = max(self.highest, offset)

    def admits(self, generation: int) -> bool:
        """Tell whether a record of this generation counts."""
        if generation < self.highest:
            return False
        # Higher: its marker lies before the place where this reader began.
        self.highest = generation
        return True


def read(
    offset: int, value: bytes, rule: GenerationRule, currency: str, ignored: Callable[[str], None]
) -> Alert | None:
    """Return the alert that a record holds, if it holds one that counts; otherwise tell why not.

    Parameters
    ----------
    offset, value
        The record.
    rule
        Takes notice of markers and of generations.
    currency
        The engine's reference currency.
    ignored
        Is told `marker`, `replaced`, `repeated` or `unreadable`.

    """
    try:
        record = log_pb2.DecisionRecord.FromString(value)
    except DecodeError:
        ignored("unreadable")
        return None
    if record.owner:
        rule.marker(offset)
        ignored("marker")
    elif not rule.admits(record.generation):
        ignored("replaced")
    elif record.flags & _DUPLICATE:
        ignored("repeated")
    else:
        paid = record.transaction
        in_time = EVENT_TIME_MIN_MICROS <= paid.event_time_micros < EVENT_TIME_MAX_MICROS
        if in_time and paid.customer_id and _CURRENCY.fullmatch(paid.currency or currency):
            return _alert(offset, record, currency)
        # The engine writes none of these, but nothing that it could write may stop the service.
        ignored("unreadable")
    return None


def _alert(offset: int, record: log_pb2.DecisionRecord, currency: str) -> Alert:
    paid = record.transaction

    def text(field: str) -> str | None:
        return getattr(paid, field) or None

    return Alert(
        offset=offset,
        transaction_id=paid.transaction_id,
        event_time_micros=paid.event_time_micros,
        customer=paid.customer_id,
        card=text("card_id"),
        device=text("device_id"),
        merchant=text("merchant_id"),
        amount_minor=paid.amount_minor,
        currency=paid.currency or currency,
        channel=CHANNELS[paid.channel - 1] if 0 < paid.channel <= len(CHANNELS) else None,
        merchant_category=paid.merchant_category if paid.HasField("merchant_category") else None,
        country=text("country"),
        score=record.score if math.isfinite(record.score) else None,
        # Unspecified is read as review, see decision.proto.
        action=ACTIONS[record.action - 1] if 0 < record.action <= len(ACTIONS) else "review",
        reasons=tuple(reason.feature for reason in record.reasons),
    )
