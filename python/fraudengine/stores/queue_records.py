"""What the analysts' queue is asked, and answers: frozen, typed, times in microseconds since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fraudengine.stores.records import Alert, StoredTransaction

__all__ = [
    "AuditEntry",
    "Group",
    "GroupBy",
    "Place",
    "QueueFilter",
    "QueuePage",
    "QueueTotals",
    "QueuedAlert",
    "State",
]

State = Literal["open", "snoozed", "closed"]
GroupBy = Literal["customer_id", "device_id", "merchant_id"]
Place = tuple[float, str]
"""Where a page ended: money at risk in the reference currency (closed ones: time of the verdict) and id."""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which alerts; all conditions hold together, `None` and empty are no condition.

    Attributes
    ----------
    state
        `open` (to do now), `snoozed` (to do later), `closed` (has a verdict).
    actions
        Names of `ACTIONS`.
    score_min
        Least score.
    customer_id, device_id, merchant_id
        As in the transaction.
    since_micros
        Decided at or after.

    """

    state: State = "open"
    actions: tuple[str, ...] = ()
    score_min: float | None = None
    customer_id: str | None = None
    device_id: str | None = None
    merchant_id: str | None = None
    since_micros: int | None = None


@dataclass(frozen=True, slots=True)
class QueuedAlert:
    """An alert, what was done about it, and the money at risk in minor units.

    `at_risk_minor` is in the alert's own currency, `worth_minor` in the reference currency (next to 0:
    there is no rate).
    """

    transaction: StoredTransaction
    state: Alert
    at_risk_minor: float
    worth_minor: float


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Alerts, most at risk first (closed ones: the newest verdict first), and where the next page begins."""

    alerts: tuple[QueuedAlert, ...]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Group:
    """Open alerts with one customer, device or merchant; money in minor units of the reference currency."""

    key: str
    alerts: int
    blocked: int
    worth_minor: float
    score_max: float | None
    newest_micros: int
    currencies: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """Alerts by state, and the money at risk in the open ones by currency (`None`: the reference)."""

    open: int
    snoozed: int
    at_risk_minor: dict[str | None, float]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the table `audit` of `docs/contract.md`."""

    number: int
    done_time_micros: int
    actor: str
    transaction_id: str
    what: str
    from_state: str
    to_state: str
    note: str | None
    label_offset: int | None
