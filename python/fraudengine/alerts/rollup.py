"""What many alerts say together: counts, money, time, reasons, the newest ones. Pure, and bounded in size.

Two roll-ups of two halves of a storm make the roll-up of the whole, so that it does not matter how the alerts
were cut into batches, or where a process was killed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from fraudengine.alerts.records import Alert

__all__ = ["NEWEST_MAX", "REASONS_MAX", "Payment", "Rollup"]

NEWEST_MAX = 5
"""Newest payments that are kept."""
REASONS_MAX = 256
"""Most features counted; the engine's catalogue has fewer. Beyond it the rarest is forgotten."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What a message says of one payment."""

    transaction_id: str
    customer_id: str
    merchant_id: str | None
    amount_minor: int
    currency: str
    action: str
    score: float | None


@dataclass(slots=True)
class Rollup:
    """The sum of one or more alerts.

    Attributes
    ----------
    alerts
        How many.
    counts
        Alerts by action.
    amounts
        Sums of amounts in minor units, by action and currency. Currencies are those that the engine has rates
        for, so there are few.
    first_micros, last_micros
        Event times of the earliest and the latest transaction.
    score_max
        Highest score; `None`: none had one.
    reasons
        Alerts by feature that raised their score.
    newest
        The newest payments in the order of the topic, the newest first.
    first_offset
        Where the first alert is in the topic.

    """

    alerts: int
    counts: Counter[str]
    amounts: dict[str, Counter[str]]
    first_micros: int
    last_micros: int
    score_max: float | None
    reasons: Counter[str]
    newest: list[Payment] = field(default_factory=list)
    first_offset: int = 0

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """Return what one alert says."""
        return cls(
            alerts=1,
            counts=Counter({alert.action: 1}),
            amounts={alert.action: Counter({alert.currency: alert.amount_minor})},
            first_micros=alert.event_time_micros,
            last_micros=alert.event_time_micros,
            score_max=alert.score,
            reasons=Counter(alert.reasons),
            newest=[
                Payment(
                    transaction_id=alert.transaction_id,
                    customer_id=alert.customer,
                    merchant_id=alert.merchant,
                    amount_minor=alert.amount_minor,
                    currency=alert.currency,
                    action=alert.action,
                    score=alert.score,
                )
            ],
            first_offset=alert.offset,
        )

    def add(self, later: Rollup) -> None:
        """Add what came later in the topic."""
        self.alerts += later.alerts
        self.counts.update(later.counts)
        for action, sums in later.amounts.items():
            self.amounts.setdefault(action, Counter()).update(sums)
        self.first_micros = min(self.first_micros, later.first_micros)
        self.last_micros = max(self.last_micros, later.last_micros)
        if later.score_max is not None:
            self.score_max = (
                later.score_max if self.score_max is None else max(self.score_max, later.score_max)
            )
        self.reasons.update(later.reasons)
        if len(self.reasons) > REASONS_MAX:
            self.reasons = Counter(dict(self.reasons.most_common(REASONS_MAX)))
        self.newest = (later.newest + self.newest)[:NEWEST_MAX]

    def to_json(self) -> str:
        """Return it as text."""
        told = {name: getattr(self, name) for name in self.__slots__}
        told["newest"] = [asdict(each) for each in self.newest]
        return json.dumps(told, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` was made of."""
        told: dict[str, Any] = json.loads(text)
        told["counts"], told["reasons"] = Counter(told["counts"]), Counter(told["reasons"])
        told["newest"] = [Payment(**each) for each in told["newest"]]
        told["amounts"] = {action: Counter(sums) for action, sums in told["amounts"].items()}
        return cls(**told)
