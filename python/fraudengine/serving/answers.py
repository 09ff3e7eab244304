"""From records of the stores to messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fraudengine.wire.decision_pb2 import Reason
from fraudengine.wire.label_pb2 import Verdict
from fraudengine.wire.monitoring_pb2 import (
    AlertState,
    AlertStatus,
    DecisionStats,
    FeatureValue,
    KnownLabel,
    LatencyStats,
    LiveDecision,
    Money,
    RiskProfile,
    StoredTransaction,
)
from fraudengine.wire.transaction_pb2 import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fraudengine.stores import records

__all__ = [
    "alert_state",
    "decision_stats",
    "feature_values",
    "known_label",
    "latency_stats",
    "live_decision",
    "risk_profile",
    "stored_transaction",
    "transaction",
]


def transaction(read: records.StoredTransaction) -> Transaction:
    """Return the transaction of a decision; fields of `None` are unset."""
    return Transaction(
        transaction_id=read.transaction_id,
        event_time_micros=read.event_time_micros,
        customer_id=read.customer_id,
        card_id=read.card_id,
        device_id=read.device_id,
        merchant_id=read.merchant_id,
        ip_address=read.ip_address,
        amount_minor=read.amount_minor,
        currency=read.currency,
        channel=_channel(read.channel),
        merchant_category=read.merchant_category,
        country=read.country,
        latitude=read.latitude,
        longitude=read.longitude,
    )


def stored_transaction(read: records.StoredTransaction) -> StoredTransaction:
    """Return a decided transaction."""
    return StoredTransaction(
        transaction=transaction(read),
        score=read.score,
        anomaly=read.anomaly,
        action=_action(read.action),
        reasons=_reasons(read.reasons),
        degraded_reasons=_degraded(read),
        decided_time_micros=read.decided_time_micros,
        latency_micros=read.latency_micros or 0,
        model=read.model or 0,
        decision_offset=read.decision_offset,
        source_partition=read.source_partition or 0,
        source_offset=read.source_offset or 0,
        features=feature_values(read.features or {}),
    )


def feature_values(values: Mapping[str, float | None]) -> list[FeatureValue]:
    """Return features by name; `None` and NaN are unset."""
    known = {name: None if value is None or math.isnan(value) else value for name, value in values.items()}
    return [FeatureValue(feature=name, value=value) for name, value in known.items()]


def known_label(read: records.KnownLabel | None) -> KnownLabel | None:
    """Return a label, if there is one."""
    if read is None:
        return None
    verdict = Verdict.VERDICT_FRAUD if read.is_fraud else Verdict.VERDICT_LEGITIMATE
    return KnownLabel(verdict=verdict, known_time_micros=read.known_time_micros, typology=read.typology)


def alert_state(read: records.Alert | None) -> AlertState | None:
    """Return what analysts did, if it was flagged."""
    if read is None:
        return None
    return AlertState(
        status=AlertStatus.Value(f"ALERT_STATUS_{read.status.upper()}"),
        verdict=Verdict.Value(f"VERDICT_{(read.verdict or 'unspecified').upper()}"),
        analyst=read.analyst,
        note=read.note,
        status_time_micros=read.status_time_micros,
    )


def decision_stats(read: records.Counts) -> DecisionStats:
    """Return counts with their rates."""
    return DecisionStats(
        seconds=read.seconds,
        transactions=read.transactions,
        approved=read.approved,
        reviewed=read.reviewed,
        blocked=read.blocked,
        transactions_per_second=read.transactions / read.seconds if read.seconds > 0 else 0.0,
        review_rate=read.share(read.reviewed),
        block_rate=read.share(read.blocked),
        fraud_rate=read.share(read.reviewed + read.blocked),
        stopped=_money(read, "block"),
        held=_money(read, "review"),
    )


def latency_stats(read: records.Latency | None) -> LatencyStats | None:
    """Return latencies, if there are any."""
    if read is None:
        return None
    return LatencyStats(
        count=read.count,
        mean_micros=read.mean_micros,
        p50_micros=read.p50_micros,
        p95_micros=read.p95_micros,
        p99_micros=read.p99_micros,
        p999_micros=read.p999_micros,
    )


def risk_profile(read: records.Profile | None) -> RiskProfile | None:
    """Return a profile, if there is one."""
    if read is None:
        return None
    return RiskProfile(
        transactions=read.transactions,
        flagged=read.flagged,
        blocked=read.blocked,
        last_seen_micros=read.last_seen_micros,
        last_amount_minor=read.last_amount_minor,
        last_currency=read.last_currency or "",
        last_country=read.last_country or "",
        last_merchant_id=read.last_merchant_id or "",
        last_action=_action(read.last_action),
        last_score=read.last_score,
        last_reasons=read.last_reasons,
        scores=read.scores,
    )


def live_decision(read: records.FeedEntry) -> LiveDecision:
    """Return an entry of a feed."""
    return LiveDecision(
        transaction_id=read.transaction_id,
        customer_id=read.customer_id,
        merchant_id=read.merchant_id,
        amount_minor=read.amount_minor,
        currency=read.currency,
        country=read.country,
        channel=_channel(read.channel),
        event_time_micros=read.event_time_micros,
        decided_time_micros=read.decided_time_micros,
        latency_micros=read.latency_micros,
        score=read.score,
        action=_action(read.action),
        reasons=_reasons(read.reasons),
        degraded_reasons=_degraded(read),
        decision_offset=read.decision_offset,
    )


def _action(name: str) -> str:
    return f"ACTION_{name.upper()}"


def _channel(name: str | None) -> str | None:
    return None if name is None else f"CHANNEL_{name.upper()}"


def _reasons(read: Iterable[records.Reason]) -> list[Reason]:
    return [Reason(feature=each.feature, value=each.value, contribution=each.contribution) for each in read]


def _degraded(read: records.StoredTransaction | records.FeedEntry) -> list[str]:
    marks = ((read.late, "LATE"), (read.coarse, "COARSE_WINDOW"), (read.without_model, "MODEL_MISSING"))
    return [f"DEGRADED_REASON_{reason}" for mark, reason in marks if mark]


def _money(read: records.Counts, action: str) -> list[Money]:
    sums = ((currency or "", amount) for (of, currency), amount in read.amounts.items() if of == action)
    return [Money(currency=currency, amount_minor=amount) for currency, amount in sorted(sums)]
