"""What the stores are read into: frozen, typed, times in whole microseconds since 1970 UTC.

Amounts are whole minor units of their own currency; a currency of `None` is the engine's reference currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACTIONS",
    "Alert",
    "Counts",
    "FeedEntry",
    "KnownLabel",
    "Latency",
    "Minute",
    "Profile",
    "Reason",
    "Stats",
    "StoredTransaction",
    "Writer",
    "order_of",
]

ACTIONS = ("approve", "review", "block")
"""Names of the actions; the code of one in PostgreSQL is its place here, from 1."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature that raised a score: its name, value (`None`: missing) and contribution to the margin."""

    feature: str
    value: float | None
    contribution: float


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A decided transaction. Names, units and `None` as in the table `transactions` of `docs/contract.md`.

    Rows that were read from `alerts` have what that table has; the rest is `None`.
    """

    transaction_id: str
    event_time_micros: int
    decided_time_micros: int
    customer_id: str
    card_id: str | None
    device_id: str | None
    merchant_id: str | None
    ip_address: str | None
    amount_minor: int
    currency: str | None
    channel: str | None
    merchant_category: int | None
    country: str | None
    score: float | None
    anomaly: float | None
    action: str
    late: bool
    coarse: bool
    without_model: bool
    reasons: tuple[Reason, ...]
    decision_offset: int
    latitude: float | None = None
    longitude: float | None = None
    latency_micros: int | None = None
    source_partition: int | None = None
    source_offset: int | None = None
    model: int | None = None
    """First 8 bytes of the bundle's hash as a number; `None`: there was no model."""
    features: Mapping[str, float | None] | None = None
    """By name; `None`: not asked for, not recorded, or of another catalogue than this program's."""


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """The newest label of a transaction; `typology` in the words of whoever labels."""

    is_fraud: bool
    known_time_micros: int
    typology: str | None


@dataclass(frozen=True, slots=True)
class Alert:
    """What analysts did about an alert; see the table `alerts` of `docs/contract.md`."""

    status: str
    verdict: str | None
    analyst: str | None
    note: str | None
    status_time_micros: int | None
    snoozed_until_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Decisions over a time.

    Attributes
    ----------
    seconds
        Length of that time.
    transactions, approved, reviewed, blocked
        Decisions; the last three add up to the first.
    amounts
        Sums of amounts by action and currency (`None`: the reference currency).

    """

    seconds: float
    transactions: int
    approved: int
    reviewed: int
    blocked: int
    amounts: Mapping[tuple[str, str | None], int]

    def share(self, count: int) -> float:
        """Return a count as a share of the transactions, 0 where there are none."""
        return count / self.transactions if self.transactions else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """From the broker's receipt to the decision, microseconds; a percentile is -1 beyond the last bucket."""

    count: int
    mean_micros: float
    p50_micros: int
    p95_micros: int
    p99_micros: int
    p999_micros: int


@dataclass(frozen=True, slots=True)
class Minute:
    """What was decided in one minute of the clock.

    Attributes
    ----------
    began_micros
        When it began.
    counts
        Its decisions; of the current minute so far.
    latencies
        Decisions by the upper bound of their latency in microseconds; infinite beyond the last bucket.

    """

    began_micros: int
    counts: Counts
    latencies: Mapping[float, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """What Redis tells about all decisions.

    Attributes
    ----------
    recent
        The asked minutes and what has passed of the current one.
    total
        Since the counters began.
    since_micros
        When they began; 0: they have not.
    counters
        All of `fraud:counters` that is no amount, by name.
    recent_latency
        Of the feed, a sample; `None`: it is empty.
    total_latency
        Upper bounds of buckets; `None`: nothing was counted.
    writer
        The writer to Redis; `None`: it has not begun.

    """

    recent: Counts
    total: Counts
    since_micros: int
    counters: Mapping[str, int]
    recent_latency: Latency | None
    total_latency: Latency | None
    writer: Writer | None


@dataclass(frozen=True, slots=True)
class Writer:
    """How far a writer of the stream is in its topic: the first record not written, and the last write."""

    name: str
    topic: str
    next_offset: int
    updated_micros: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The live risk profile of a customer; see `fraud:profile` of `docs/contract.md`."""

    customer_id: str
    transactions: int
    flagged: int
    blocked: int
    last_seen_micros: int
    last_amount_minor: int
    last_currency: str | None
    last_country: str | None
    last_merchant_id: str | None
    last_action: str
    last_score: float | None
    last_reasons: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A decision in a live feed; `cursor` is its place there, and later ones are greater by `order`."""

    cursor: str
    transaction_id: str
    customer_id: str
    merchant_id: str | None
    currency: str | None
    country: str | None
    channel: str | None
    action: str
    amount_minor: int
    event_time_micros: int
    decided_time_micros: int
    latency_micros: int
    late: bool
    coarse: bool
    without_model: bool
    decision_offset: int
    score: float | None
    reasons: tuple[Reason, ...] = field(default=())

    @property
    def order(self) -> tuple[int, int]:
        """Place in the feed as a number that can be compared."""
        return order_of(self.cursor)


def order_of(cursor: str) -> tuple[int, int]:
    """Return a cursor of a feed as numbers.

    Raises
    ------
    ValueError
        It is none.

    """
    milliseconds, dash, number = cursor.partition("-")
    if not (dash and milliseconds.isascii() and number.isascii()):
        raise ValueError(cursor)
    if not (milliseconds.isdigit() and number.isdigit() and len(cursor) <= 40):
        raise ValueError(cursor)
    return int(milliseconds), int(number)
