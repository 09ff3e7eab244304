"""The stores for programs that wait, such as a dashboard: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from fraudengine.errors import ConfigError
from fraudengine.stores.live import ALERTS, FEED
from fraudengine.stores.reader import Stores

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from fraudengine.config import Settings
    from fraudengine.errors import StoreError
    from fraudengine.stores.history import Filter, History, Page, Place
    from fraudengine.stores.live import Live
    from fraudengine.stores.records import (
        Alert,
        FeedEntry,
        KnownLabel,
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

    def page(self, wanted: Filter, size: int, after: Place | None = None) -> Page:
        """Return up to `size` transactions behind a place, newest event first."""
        return self._wait(self._history.page(wanted, size, after, seconds=self._seconds))

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

    def _wait(self, read: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(read, self._loop).result()


async def _made(settings: Settings) -> Stores:
    return Stores(settings)
