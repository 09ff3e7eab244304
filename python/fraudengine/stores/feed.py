"""The live feeds to many readers, by one reader of Redis.

Each subscription has a bounded queue of its own. One that is full belongs to a reader that is too slow: it
is ended, with the reason, and delays nobody. When Redis does not answer all subscriptions end with that
error; who comes again with the cursor of the last entry misses nothing that Redis still has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from fraudengine.errors import FraudEngineError, StoreError
from fraudengine.stores.live import ALERTS, FEED

if TYPE_CHECKING:
    from fraudengine.stores.live import Live
    from fraudengine.stores.records import FeedEntry

__all__ = ["Feeds", "SlowReaderError", "Subscription"]

_WAIT_SECONDS = 1.0
_ANSWER_SECONDS = 5.0


class SlowReaderError(FraudEngineError):
    """A reader of a live feed did not keep up; its queue was full."""


class Subscription:
    """What one reader has not read yet, and why there will be no more."""

    def __init__(self, feed: str, queued_max: int) -> None:
        self.feed = feed
        self._queued_max = queued_max
        self._entries: deque[FeedEntry] = deque()
        self._changed = asyncio.Event()
        self.error: Exception | None = None
        """Why it has ended; `None`: it has not."""
        self.ended = asyncio.Event()

    def offer(self, entry: FeedEntry) -> None:
        """Queue an entry; at the bound the subscription ends, and what it has not read is dropped."""
        if self.error is not None:
            return
        if len(self._entries) >= self._queued_max:
            self._entries.clear()
            self.end(SlowReaderError(f"{self._queued_max} decisions were waiting to be read"))
            return
        self._entries.append(entry)
        self._changed.set()

    def end(self, error: Exception) -> None:
        """Say why there will be no more entries; those in the queue can still be read."""
        if self.error is None:
            self.error = error
            self.ended.set()
            self._changed.set()

    async def next(self) -> FeedEntry:
        """Wait for an entry.

        Raises
        ------
        SlowReaderError
            The queue was full.
        StoreError
            Redis does not answer.

        """
        while not self._entries:
            if self.error is not None:
                raise self.error
            self._changed.clear()
            await self._changed.wait()
        return self._entries.popleft()


class Feeds:
    """The feeds of one Redis; reads only while somebody has subscribed.

    Parameters
    ----------
    live
        What reads.

    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        # Set when the reading has begun, or will not.
        self._begun = asyncio.Event()

    async def subscribe(self, feed: str, queued_max: int) -> Subscription:
        """Return a subscription that has every entry from now on.

        Raises
        ------
        StoreError
            Redis does not answer.

        """
        subscription = Subscription(feed, queued_max)
        self._subscriptions.add(subscription)
        if self._task is None or self._task.done():
            self._begun = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._begun), name="feeds")
        try:
            await self._begun.wait()
        except asyncio.CancelledError:
            self.unsubscribe(subscription)
            raise
        if subscription.error is not None:
            raise subscription.error
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription; the last one ends the reading."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions and self._task is not None:
            self._task.cancel()
            self._task = None

    async def close(self) -> None:
        """End every subscription."""
        self._end(StoreError("redis", "the service is ending"))
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self, begun: asyncio.Event) -> None:
        try:
            cursors = await self._live.last_cursors((FEED, ALERTS), seconds=_ANSWER_SECONDS)
            begun.set()
            while True:
                told = await self._live.follow(
                    cursors, _WAIT_SECONDS, seconds=_WAIT_SECONDS + _ANSWER_SECONDS
                )
                for feed, entries in told:
                    cursors[feed] = entries[-1].cursor
                    self._offer(feed, entries)
        except StoreError as error:
            self._end(error)
        finally:
            begun.set()

    def _offer(self, feed: str, entries: list[FeedEntry]) -> None:
        for subscription in self._subscriptions:
            if subscription.feed == feed:
                for entry in entries:
                    subscription.offer(entry)

    def _end(self, error: Exception) -> None:
        for subscription in self._subscriptions:
            subscription.end(error)
        self._subscriptions.clear()
