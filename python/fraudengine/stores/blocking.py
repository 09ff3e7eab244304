"""The stores for programs that wait, such as a dashboard: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from fraudengine.errors import ConfigError
from fraudengine.stores.live import ALERTS, FEED
from fraudengine.stores.reader import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from datetime import date

    from fraudengine.config import Settings
    from fraudengine.errors import StoreError
    from fraudengine.stores.history import Filter, History, Page, Place
    from fraudengine.stores.live import Live
    from fraudengine.stores.quality import FeatureSample, Quality, QualityDay, ScoredSample
    from fraudengine.stores.queue import AlertQueue
    from fraudengine.stores.queue_records import (
        AuditEntry,
        Group,
        GroupBy,
        QueuedAlert,
        QueueFilter,
        QueuePage,
        QueueTotals,
    )
    from fraudengine.stores.queue_records import Place as QueuePlace
    from fraudengine.stores.records import (
        Alert,
        FeedEntry,
        KnownLabel,
        Minute,
        Profile,
        Stats,
        StoredTransaction,
        Writer,
    )

__all__ = ["BlockingStores"]

T = TypeVar("T")


class BlockingStores:
    """Both stores, read synchronously; a context manager that closes them. Safe to use from several threads.

    Every method raises `StoreError` when a store cannot be read, `StoreTimeoutError` when it does not answer
    in time, and `ConfigError` when it is switched off.

    Parameters
    ----------
    settings
        Effective settings: addresses are those of `[postgres]` and `[redis]`.
    seconds
        Longest time that a read takes, above 0.

    Examples
    --------
    >>> from fraudengine.config import load
    >>> from fraudengine.stores import BlockingStores, Filter
    >>> with BlockingStores(load()) as stores:  # doctest: +SKIP
    ...     page = stores.page(Filter(actions=("block",)), 20)

    """

    def __init__(self, settings: Settings, *, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stores", daemon=True)
        self._thread.start()
        self._stores = self._wait(_made(settings))

    def find(self, transaction_id: str, event_time_micros: int | None = None) -> StoredTransaction | None:
        """Return a transaction by its id, with its features; `None`: there is none."""
        return self._wait(self._history.find(transaction_id, event_time_micros, seconds=self._seconds))

    def page(
        self, wanted: Filter, size: int, after: Place | None = None, *, seconds: float | None = None
    ) -> Page:
        """Return up to `size` transactions behind a place, newest event first."""
        return self._wait(self._history.page(wanted, size, after, seconds=seconds or self._seconds))

    def alerts_of(self, customer_id: str, most: int) -> tuple[StoredTransaction, ...]:
        """Return the newest alerts of a customer, newest event first."""
        return self._wait(self._history.alerts_of(customer_id, most, seconds=self._seconds))

    def label(self, transaction_id: str) -> KnownLabel | None:
        """Return the newest label of a transaction."""
        return self._wait(self._history.label(transaction_id, seconds=self._seconds))

    def alert(self, transaction_id: str) -> Alert | None:
        """Return what analysts did about a transaction; `None`: it was approved."""
        return self._wait(self._history.alert(transaction_id, seconds=self._seconds))

    def writers(self) -> tuple[Writer, ...]:
        """Return how far the writers to PostgreSQL are."""
        return self._wait(self._history.writers(seconds=self._seconds))

    def stats(self, minutes: int) -> Stats:
        """Return the figures of so many whole minutes, 1 to 1,440, and of all time."""
        return self._wait(self._live.stats(minutes, seconds=self._seconds))

    def minutes(self, most: int) -> tuple[Minute, ...]:
        """Return the figures of each of the newest minutes, 1 to 1,440, oldest first."""
        return self._wait(self._live.minutes(most, seconds=self._seconds))

    def profile(self, customer_id: str) -> Profile | None:
        """Return the live profile of a customer; `None`: there is none."""
        return self._wait(self._live.profile(customer_id, seconds=self._seconds))

    def newest_decisions(self, most: int) -> tuple[FeedEntry, ...]:
        """Return the newest decisions of the feed (a sample under load), newest first."""
        return self._wait(self._live.newest(FEED, most, seconds=self._seconds))

    def newest_alerts(self, most: int) -> tuple[FeedEntry, ...]:
        """Return the newest alerts, newest first."""
        return self._wait(self._live.newest(ALERTS, most, seconds=self._seconds))

    def outages(self, *, seconds: float) -> dict[str, StoreError]:
        """Return the stores, `postgres` or `redis`, that do not answer in that time, each with the reason."""
        return self._wait(self._stores.outages(seconds=seconds))

    def queue_page(self, wanted: QueueFilter, size: int, after: QueuePlace | None = None) -> QueuePage:
        """Return up to `size` alerts of the queue behind a place."""
        return self._wait(self._queue.page(wanted, size, after, seconds=self._seconds))

    def queue_groups(self, by: GroupBy, wanted: QueueFilter, most: int) -> tuple[Group, ...]:
        """Return the groups of open alerts with the most money at risk."""
        return self._wait(self._queue.groups(by, wanted, most, seconds=self._seconds))

    def queue_ids(self, by: GroupBy, key: str, wanted: QueueFilter, most: int) -> list[str]:
        """Return the ids of the alerts of a group, most at risk first."""
        return self._wait(self._queue.ids_of(by, key, wanted, most, seconds=self._seconds))

    def queue_totals(self) -> QueueTotals:
        """Return how long the queue is."""
        return self._wait(self._queue.totals(seconds=self._seconds))

    def queued(self, transaction_ids: Sequence[str]) -> dict[str, QueuedAlert]:
        """Return alerts by their ids."""
        return self._wait(self._queue.get(transaction_ids, seconds=self._seconds))

    def audit(self, most: int, transaction_id: str | None = None) -> tuple[AuditEntry, ...]:
        """Return the newest lines of the audit, newest first."""
        return self._wait(self._queue.audit(most, transaction_id=transaction_id, seconds=self._seconds))

    def labels_of(self, transaction_ids: Sequence[str]) -> dict[str, KnownLabel]:
        """Return the newest labels of transactions by their ids."""
        return self._wait(self._history.labels_of(transaction_ids, seconds=self._seconds))

    def days(self, first: date, last: date) -> tuple[QualityDay, ...]:
        """Return what became of the decisions of some days."""
        return self._wait(self._quality.days(first, last, seconds=self._seconds))

    def scored(self, first: date, last: date, rows: int) -> ScoredSample:
        """Return scores of some days with their outcome: all labelled, a sample of the others."""
        return self._wait(self._quality.scored(first, last, rows, seconds=self._seconds))

    def feature_sample(self, rows: int) -> FeatureSample:
        """Return recorded features of the newest decisions."""
        return self._wait(self._quality.features(rows, seconds=self._seconds))

    def models(self, rows: int) -> tuple[tuple[int | None, int], ...]:
        """Return the models of the newest decisions, and how many each made."""
        return self._wait(self._quality.models(rows, seconds=self._seconds))

    def close(self) -> None:
        """Close every connection and end the thread."""
        if self._loop.is_closed():
            return
        self._wait(self._stores.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    @property
    def _history(self) -> History:
        if self._stores.history is None:
            raise ConfigError("postgres.enabled is false: there is no history")
        return self._stores.history

    @property
    def _live(self) -> Live:
        if self._stores.live is None:
            raise ConfigError("redis.enabled is false: there are no live figures")
        return self._stores.live

    @property
    def _queue(self) -> AlertQueue:
        if self._stores.queue is None:
            raise ConfigError("postgres.enabled is false: there are no alerts")
        return self._stores.queue

    @property
    def _quality(self) -> Quality:
        if self._stores.quality is None:
            raise ConfigError("postgres.enabled is false: there is no history")
        return self._stores.quality

    def run(self, work: Callable[[Stores], Coroutine[object, object, T]]) -> T:
        """Do something with the stores in their event loop, and wait for it."""
        return self._wait(work(self._stores))

    def _wait(self, read: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(read, self._loop).result()


async def _made(settings: Settings) -> Stores:
    return Stores(settings)
