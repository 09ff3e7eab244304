"""Records of the topic `alerts`, made by hand: what a stream would write about these payments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wire_messages import message, produce

from fraudengine.alerts.records import Alert
from fraudengine.schema import CHANNELS

__all__ = ["alert", "alert_bytes", "marker_bytes", "send_alerts"]

TIME_MICROS = 1_764_331_200_000_000


def alert(number: int = 0, **changed: Any) -> Alert:
    """Return an alert as the service reads it; without more, on card `k0`."""
    told: dict[str, Any] = {
        "offset": number,
        "transaction_id": f"t{number}",
        "event_time_micros": TIME_MICROS + number * 1_000_000,
        "customer": "c0",
        "card": "k0",
        "device": None,
        "merchant": "m0",
        "amount_minor": 12_34,
        "currency": "EUR",
        "channel": "ecommerce",
        "merchant_category": 5411,
        "country": "DE",
        "score": 0.5,
        "action": "review",
        "reasons": ("merchant_fraud_rate_30d",),
    }
    return Alert(**{**told, **changed})


def alert_bytes(told: Alert, *, generation: int = 0, flags: int = 0) -> bytes:
    """Return the record of an alert."""
    paid = {
        "transaction_id": told.transaction_id,
        "customer_id": told.customer,
        "event_time_micros": told.event_time_micros,
        "amount_minor": told.amount_minor,
        "card_id": told.card,
        "device_id": told.device,
        "merchant_id": told.merchant,
        "currency": told.currency,
        "merchant_category": told.merchant_category,
        "country": told.country,
        "channel": None if told.channel is None else CHANNELS.index(told.channel) + 1,
    }
    record = message("DecisionRecord")(
        transaction={name: value for name, value in paid.items() if value is not None},
        score=float("nan") if told.score is None else told.score,
        action={"approve": 1, "review": 2, "block": 3}[told.action],
        reasons=[{"feature": name, "contribution": 1.0} for name in told.reasons],
        generation=generation,
        flags=flags,
        features=[0.5] * 76,
    )
    value: bytes = record.SerializeToString()
    return value


def marker_bytes(owner: int = 1) -> bytes:
    """Return a marker."""
    value: bytes = message("DecisionRecord")(owner=owner).SerializeToString()
    return value


def send_alerts(brokers: str, topic: str, alerts: Iterable[Alert], *, generation: int = 0) -> int:
    """Write alerts to a topic; return how many."""
    return produce(brokers, topic, ((0, None, alert_bytes(each, generation=generation)) for each in alerts))
