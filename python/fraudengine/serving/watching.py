"""The live feeds as streams: each reader has a queue, and who does not keep up is ended with the reason.

An answer that cannot be sent, because the reader's window is full, waits in a task of its own. So a full
queue ends the call at once, whether or not anything can be sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from fraudengine.errors import StoreError
from fraudengine.serving import answers, requests
from fraudengine.serving.methods import Methods
from fraudengine.serving.refusals import CallError, InvalidError, retry_later
from fraudengine.stores.feed import SlowReaderError, Subscription
from fraudengine.stores.live import ALERTS, FEED, FEED_SAMPLE, Live
from fraudengine.stores.records import FeedEntry, order_of
from fraudengine.wire.monitoring_pb2 import (
    LiveFilter,
    WatchAlertsRequest,
    WatchAlertsResponse,
    WatchTransactionsRequest,
    WatchTransactionsResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fraudengine.stores.reader import Stores

__all__ = ["Watching"]

_CURSOR_CHARACTERS_MAX = 40
_REASON_SECONDS = 10.0

_Asked = WatchTransactionsRequest | WatchAlertsRequest


class Watching:
    """The handlers of the two feeds.

    Parameters
    ----------
    stores
        What is read.
    methods
        Counts, and says how long a question to Redis may take.
    watchers_max
        Most readers at a time.
    queued_max
        Most decisions that wait for one reader.

    """

    def __init__(self, stores: Stores, methods: Methods, watchers_max: int, queued_max: int) -> None:
        self._stores = stores
        self._methods = methods
        self._watchers_max = watchers_max
        self._queued_max = queued_max
        self._watchers = 0

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the methods by name."""
        return {
            "WatchTransactions": self._handler(
                "WatchTransactions", FEED, WatchTransactionsRequest, WatchTransactionsResponse
            ),
            "WatchAlerts": self._handler("WatchAlerts", ALERTS, WatchAlertsRequest, WatchAlertsResponse),
        }

    def _handler(self, name: str, feed: str, kind: type[Any], answer: type[Any]) -> grpc.RpcMethodHandler:
        async def watch(request: bytes, context: grpc.aio.ServicerContext) -> None:
            time = self._methods.time(context)
            with self._methods.metrics.watcher(name):
                self._watchers += 1
                try:
                    asked = requests.parsed(kind, request)
                    await self._watch(asked, feed, answer, context)
                except SlowReaderError as error:
                    self._methods.metrics.watchers_dropped.labels(name).inc()
                    await self._drop(context, error)
                except (CallError, StoreError) as error:
                    await self._methods.refuse(context, error, time)
                finally:
                    self._watchers -= 1

        return grpc.unary_stream_rpc_method_handler(watch)

    async def _watch(
        self, asked: _Asked, feed: str, answer: type[Any], context: grpc.aio.ServicerContext
    ) -> None:
        if self._watchers > self._watchers_max:
            message = f"there are {self._watchers_max} readers of the live feeds already"
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCHERS_MAX", message, retry_later(1.0))
        live, feeds = self._stores.live, self._stores.feeds
        if live is None or feeds is None:
            message = "this service reads no such store: redis.enabled is false"
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "REDIS_DISABLED", message)
        wanted = _wanted(asked.filter)
        cursor = _cursor(asked.cursor)
        subscription = await feeds.subscribe(feed, self._queued_max)
        try:
            # Says that nothing is missed from now on.
            await context.send_initial_metadata(())
            gap = False
            async for entry, lost in self._entries(live, subscription, cursor):
                gap = gap or lost
                if wanted(entry):
                    told = answer(decision=answers.live_decision(entry), cursor=entry.cursor, gap=gap)
                    await _sent(context, told.SerializeToString(), subscription)
                    gap = False
        finally:
            feeds.unsubscribe(subscription)

    async def _entries(
        self, live: Live, subscription: Subscription, cursor: str
    ) -> AsyncIterator[tuple[FeedEntry, bool]]:
        """Yield what is behind the cursor, then what comes; each with whether some before may be missing."""
        last = order_of(cursor) if cursor else (0, 0)
        gap, more = False, bool(cursor)
        while more:
            behind, gap = await live.behind(subscription.feed, cursor, seconds=self._methods.seconds_max)
            more = len(behind) == FEED_SAMPLE
            for entry in behind:
                yield entry, gap
                gap, cursor, last = False, entry.cursor, entry.order
        while True:
            entry = await subscription.next()
            if entry.order > last:
                yield entry, gap
                gap = False

    async def _drop(self, context: grpc.aio.ServicerContext, error: SlowReaderError) -> None:
        """End a call whose reader does not read: the reason waits behind what it has not read yet."""
        refusal = CallError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "READER_TOO_SLOW", f"the reader is too slow: {error}"
        )
        time = self._methods.time(context)
        try:
            await asyncio.wait_for(self._methods.refuse(context, refusal, time), _REASON_SECONDS)
        except TimeoutError:
            # It does not even read the reason: the call ends without one.
            raise asyncio.CancelledError from None


def _cursor(cursor: str) -> str:
    if not cursor:
        return ""
    try:
        if len(cursor) <= _CURSOR_CHARACTERS_MAX and max(order_of(cursor)) < 2**63:
            return cursor
    except ValueError:
        pass
    raise InvalidError("cursor", "UNKNOWN", "cursor is not one of an answer of this method")


def _wanted(told: LiveFilter) -> Callable[[FeedEntry], bool]:
    customer = requests.optional_text(told, "customer_id", "filter.customer_id")
    merchant = requests.optional_text(told, "merchant_id", "filter.merchant_id")
    names = requests.actions(told.actions, "filter.actions")
    least = requests.score(told, "score_min", "filter.score_min")

    def wanted(entry: FeedEntry) -> bool:
        return (
            customer in (None, entry.customer_id)
            and merchant in (None, entry.merchant_id)
            and (not names or entry.action in names)
            and (least is None or (entry.score is not None and entry.score >= least))
        )

    return wanted


async def _sent(context: grpc.aio.ServicerContext, told: bytes, subscription: Subscription) -> None:
    """Send an answer.

    Raises
    ------
    SlowReaderError
        The queue became full while the answer could not be sent.

    """
    sending = asyncio.ensure_future(context.write(told))
    ended = asyncio.ensure_future(subscription.ended.wait())
    try:
        await asyncio.wait({sending, ended}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
        elif isinstance(subscription.error, SlowReaderError):
            raise subscription.error
        else:
            await sending
    finally:
        ended.cancel()
        sending.cancel()
