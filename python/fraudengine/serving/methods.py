"""What methods that are not on the way of scoring have in common: parsing, time, errors as statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from fraudengine.errors import StoreError, StoreTimeoutError
from fraudengine.serving.refusals import CallError, refuse, retry_later
from fraudengine.serving.requests import parsed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fraudengine.serving.metrics import Metrics

__all__ = ["Methods", "Time"]

RETRY_SECONDS = 1.0
"""When a caller should come again while a store does not answer."""

# The answer has to be sent, too.
_SHARE_OF_DEADLINE = 0.9

Q = TypeVar("Q", bound=Message)


class Time:
    """How long a call may take.

    Attributes
    ----------
    seconds
        What is left of the caller's deadline, or the service's own limit if that is less.
    is_callers
        Whether the deadline is the caller's.

    """

    def __init__(self, remaining: float | None, most: float) -> None:
        left = most if remaining is None else max(0.0, remaining * _SHARE_OF_DEADLINE)
        self.seconds = min(left, most)
        self.is_callers = left < most


class Methods:
    """Makes handlers.

    Parameters
    ----------
    metrics
        What is counted.
    seconds_max
        Longest that a call may take without a shorter deadline.

    """

    def __init__(self, metrics: Metrics, seconds_max: float) -> None:
        self.metrics = metrics
        self.seconds_max = seconds_max

    def time(self, context: grpc.aio.ServicerContext) -> Time:
        """Return how long a call may take from now on."""
        return Time(context.time_remaining(), self.seconds_max)

    def unary(
        self, name: str, kind: type[Q], handle: Callable[[Q, Time], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a method with one request and one answer."""

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            with self.metrics.call(name):
                time = self.time(context)
                try:
                    told = await handle(parsed(kind, request), time)
                except (CallError, StoreError) as error:
                    await self.refuse(context, error, time)
                encoded: bytes = told.SerializeToString()
                return encoded

        return grpc.unary_unary_rpc_method_handler(answer)

    async def refuse(
        self, context: grpc.aio.ServicerContext, error: CallError | StoreError, time: Time
    ) -> NoReturn:
        """End a call because of an error."""
        if isinstance(error, CallError):
            await refuse(context, error.code, error.reason, str(error), *error.details)
        self.metrics.store_errors.labels(error.store).inc()
        if isinstance(error, StoreTimeoutError) and time.is_callers:
            await refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", str(error))
        reason = f"{error.store.upper()}_UNAVAILABLE"
        await refuse(context, grpc.StatusCode.UNAVAILABLE, reason, str(error), retry_later(RETRY_SECONDS))
