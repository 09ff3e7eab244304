"""`MonitoringService`: what was decided and what is happening now, read from the stores."""

from __future__ import annotations

import asyncio
import time as clock
from typing import TYPE_CHECKING

import grpc

from fraudengine.errors import StoreError
from fraudengine.serving import answers, requests
from fraudengine.serving.page_tokens import place_of, token_of
from fraudengine.serving.refusals import CallError, InvalidError
from fraudengine.stores.history import Filter
from fraudengine.stores.live import MINUTES_MAX
from fraudengine.wire.monitoring_pb2 import (
    GetStatsRequest,
    GetStatsResponse,
    GetTransactionRequest,
    GetTransactionResponse,
    GetUserRiskProfileRequest,
    GetUserRiskProfileResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    WriterLag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fraudengine.serving.methods import Methods, Time
    from fraudengine.serving.topic_ends import TopicEnds
    from fraudengine.serving.watching import Watching
    from fraudengine.stores.history import History
    from fraudengine.stores.live import Live
    from fraudengine.stores.reader import Stores
    from fraudengine.stores.records import Writer

__all__ = ["SERVICE", "MonitoringService"]

SERVICE = "fraudengine.v1.MonitoringService"
_MINUTES, _PAGE, _PAGE_MAX, _HISTORY, _HISTORY_MAX = 5, 50, 500, 20, 100
_HISTORY_SHARE = 0.5
_LAG_SECONDS = 1.0


class MonitoringService:
    """The handlers of the service.

    Parameters
    ----------
    stores
        What is read.
    ends
        Says where topics end.
    watching
        Serves the live feeds.
    methods
        Makes handlers.
    windows
        Returns the windows of a customer by the catalogue's names, from the engine's state or its replica;
        called off the event loop.

    """

    def __init__(
        self,
        stores: Stores,
        ends: TopicEnds,
        watching: Watching,
        methods: Methods,
        windows: Callable[[str], Mapping[str, float]],
    ) -> None:
        self._stores = stores
        self._ends = ends
        self._watching = watching
        self._methods = methods
        self._windows = windows

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods by name."""
        unary = self._methods.unary
        methods = {
            "GetStats": unary("GetStats", GetStatsRequest, self.get_stats),
            "GetTransaction": unary("GetTransaction", GetTransactionRequest, self.get_transaction),
            "ListTransactions": unary("ListTransactions", ListTransactionsRequest, self.list_transactions),
            "GetUserRiskProfile": unary(
                "GetUserRiskProfile", GetUserRiskProfileRequest, self.get_user_risk_profile
            ),
            **self._watching.handlers(),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def get_stats(self, asked: GetStatsRequest, time: Time) -> GetStatsResponse:
        """Answer one `GetStatsRequest`."""
        minutes = requests.count(asked.minutes, "minutes", _MINUTES, MINUTES_MAX)
        stats, writers = await asyncio.gather(
            self._live.stats(minutes, seconds=time.seconds), self._writers(time.seconds)
        )
        known = (*([stats.writer] if stats.writer else []), *writers)
        lags = await asyncio.gather(*(self._lag(each, min(_LAG_SECONDS, time.seconds)) for each in known))
        counter = stats.counters.get
        return GetStatsResponse(
            time_micros=requests.now_micros(),
            recent=answers.decision_stats(stats.recent),
            total=answers.decision_stats(stats.total),
            total_since_micros=stats.since_micros,
            recent_latency=answers.latency_stats(stats.recent_latency),
            total_latency=answers.latency_stats(stats.total_latency),
            repeated=counter("repeated", 0),
            late=counter("late", 0),
            coarse_window=counter("coarse", 0),
            without_model=counter("without_model", 0),
            lags=lags,
        )

    async def get_transaction(self, asked: GetTransactionRequest, time: Time) -> GetTransactionResponse:
        """Answer one `GetTransactionRequest`."""
        until = clock.monotonic() + time.seconds
        name = requests.text(asked.transaction_id, "transaction_id")
        at = requests.optional_time(asked, "event_time_micros")
        found = await self._history.find(name, at, seconds=time.seconds)
        if found is None:
            raise not_found(f"no transaction {name} is in PostgreSQL")
        left = max(0.0, until - clock.monotonic())
        label, alert = await asyncio.gather(
            self._history.label(name, seconds=left), self._history.alert(name, seconds=left)
        )
        told = answers.stored_transaction(found)
        told.MergeFrom(type(told)(label=answers.known_label(label), alert=answers.alert_state(alert)))
        return GetTransactionResponse(transaction=told)

    async def list_transactions(self, asked: ListTransactionsRequest, time: Time) -> ListTransactionsResponse:
        """Answer one `ListTransactionsRequest`."""
        wanted = Filter(
            from_micros=requests.optional_time(asked, "from_micros"),
            to_micros=requests.optional_time(asked, "to_micros"),
            customer_id=requests.optional_text(asked, "customer_id"),
            merchant_id=requests.optional_text(asked, "merchant_id"),
            actions=requests.actions(asked.actions, "actions"),
            score_min=requests.score(asked, "score_min"),
            score_max=requests.score(asked, "score_max"),
        )
        _in_order(wanted.from_micros, wanted.to_micros, "to_micros", "from_micros", same=False)
        _in_order(wanted.score_min, wanted.score_max, "score_max", "score_min", same=True)
        size = requests.count(asked.page_size, "page_size", _PAGE, _PAGE_MAX)
        after = place_of(asked.page_token, wanted)
        page = await self._history.page(wanted, size, after, seconds=time.seconds)
        return ListTransactionsResponse(
            transactions=map(answers.stored_transaction, page.transactions),
            next_page_token=token_of(page.next, wanted) if page.next else "",
        )

    async def get_user_risk_profile(
        self, asked: GetUserRiskProfileRequest, time: Time
    ) -> GetUserRiskProfileResponse:
        """Answer one `GetUserRiskProfileRequest`."""
        customer = requests.text(asked.customer_id, "customer_id")
        size = requests.count(asked.history_size, "history_size", _HISTORY, _HISTORY_MAX)
        profile, alerts, history, windows = await asyncio.gather(
            self._live.profile(customer, seconds=time.seconds),
            self._history.alerts_of(customer, size, seconds=time.seconds),
            self._history.page(Filter(customer_id=customer), size, seconds=time.seconds * _HISTORY_SHARE),
            asyncio.to_thread(self._windows, customer),
        )
        if profile is None and not (alerts or history.transactions or history.next or windows):
            raise not_found(f"nothing is known about the customer {customer}")
        return GetUserRiskProfileResponse(
            customer_id=customer,
            profile=answers.risk_profile(profile),
            alerts=map(answers.stored_transaction, alerts),
            history=map(answers.stored_transaction, history.transactions),
            windows=answers.feature_values(windows),
        )

    async def _writers(self, seconds: float) -> tuple[Writer, ...]:
        """Return how far the writers to PostgreSQL are; figures of Redis are told without them, too."""
        if self._stores.history is None:
            return ()
        try:
            return await self._stores.history.writers(seconds=seconds * _HISTORY_SHARE)
        except StoreError:
            return ()

    async def _lag(self, writer: Writer, seconds: float) -> WriterLag:
        end = await self._ends.of(writer.topic, seconds)
        return WriterLag(
            writer=writer.name,
            next_offset=writer.next_offset,
            records=None if end is None else max(0, end - writer.next_offset),
            updated_time_micros=writer.updated_micros,
        )

    @property
    def _history(self) -> History:
        if self._stores.history is None:
            raise switched_off("postgres")
        return self._stores.history

    @property
    def _live(self) -> Live:
        if self._stores.live is None:
            raise switched_off("redis")
        return self._stores.live


def not_found(message: str) -> CallError:
    """Return the error of a thing that is not there."""
    return CallError(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", message)


def switched_off(section: str) -> CallError:
    """Return the error of a method whose store is switched off."""
    message = f"this service reads no such store: {section}.enabled is false"
    return CallError(grpc.StatusCode.UNIMPLEMENTED, f"{section.upper()}_DISABLED", message)


def _in_order(low: float | None, high: float | None, field: str, other: str, *, same: bool) -> None:
    if low is not None and high is not None and not (low < high or (same and low == high)):
        raise InvalidError(field, "OUT_OF_RANGE", f"{field} is {high:.15g}, below {other} {low:.15g}")
