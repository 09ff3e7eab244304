"""A label made of a transaction and of what somebody says about it: everything that the engine needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fraudengine.wire.label_pb2 import Label, LabelSource, Verdict

if TYPE_CHECKING:
    from fraudengine.stores.records import StoredTransaction

__all__ = ["VERDICTS", "analyst_label", "now_micros", "source_name"]

VERDICTS = {Verdict.VERDICT_LEGITIMATE: "legitimate", Verdict.VERDICT_FRAUD: "fraud"}
"""Names of the verdicts, as in `alerts` and in the audit."""

_TEXTS = ("card_id", "device_id", "merchant_id", "ip_address", "currency")


def now_micros() -> int:
    """Return the time, microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


def source_name(label: Label) -> str:
    """Return where a verdict comes from in one word; empty: not known."""
    name: str = LabelSource.Name(label.source) if label.source else ""
    return name.removeprefix("LABEL_SOURCE_").lower()


def analyst_label(
    transaction: StoredTransaction, *, is_fraud: bool, actor: str, typology: str | None = None
) -> Label:
    """Return what an analyst found out just now; on an event ahead of our clock it is known at the event."""
    label = Label(
        transaction_id=transaction.transaction_id,
        event_time_micros=transaction.event_time_micros,
        customer_id=transaction.customer_id,
        amount_minor=transaction.amount_minor,
        is_fraud=Verdict.VERDICT_FRAUD if is_fraud else Verdict.VERDICT_LEGITIMATE,
        label_known_time_micros=max(now_micros(), transaction.event_time_micros),
        source=LabelSource.LABEL_SOURCE_ANALYST,
        actor=actor,
        typology=typology,
    )
    for name in _TEXTS:
        value = getattr(transaction, name)
        if value is not None:
            setattr(label, name, value)
    return label
