"""What the stream wrote to PostgreSQL and Redis, for people: the one place that reads it.

`Stores` is asynchronous, for services; `BlockingStores` is the same for programs that wait, such as a
dashboard. `docs/contract.md` describes tables, keys and channels. Results are frozen. Every read has a time
limit and is bounded; a store that does not answer is a `StoreError`, and the next read tries again.
"""

from __future__ import annotations

from fraudengine.stores.blocking import BlockingStores
from fraudengine.stores.feed import Subscription
from fraudengine.stores.history import Filter, Page
from fraudengine.stores.quality import FeatureSample, QualityDay, ScoredSample
from fraudengine.stores.queue_records import (
    AuditEntry,
    Group,
    GroupBy,
    QueuedAlert,
    QueueFilter,
    QueuePage,
    QueueTotals,
    State,
)
from fraudengine.stores.reader import Stores
from fraudengine.stores.records import (
    Alert,
    Counts,
    FeedEntry,
    KnownLabel,
    Latency,
    Minute,
    Profile,
    Reason,
    Stats,
    StoredTransaction,
    Writer,
)

__all__ = [
    "Alert",
    "AuditEntry",
    "BlockingStores",
    "Counts",
    "FeatureSample",
    "FeedEntry",
    "Filter",
    "Group",
    "GroupBy",
    "KnownLabel",
    "Latency",
    "Minute",
    "Page",
    "Profile",
    "QualityDay",
    "QueueFilter",
    "QueuePage",
    "QueueTotals",
    "QueuedAlert",
    "Reason",
    "ScoredSample",
    "State",
    "Stats",
    "StoredTransaction",
    "Stores",
    "Subscription",
    "Writer",
]
