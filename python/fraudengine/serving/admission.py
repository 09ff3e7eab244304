"""How much is let in: a count of calls and of transactions that are under way, and what is said beyond it.

At a bound a call is turned away before its message is read, so under overload an accepted call waits no
longer than the bound takes, and a refused one costs little, knows at once, and is told when to come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import grpc

from fraudengine.serving.refusals import retry_later, trailing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fraudengine.serving.metrics import Metrics

__all__ = ["Admission", "Admitting"]

_RETRY_SECONDS = 0.1
_CODE = grpc.StatusCode.RESOURCE_EXHAUSTED
_MESSAGE = "the service is at its bound of calls or transactions under way"


class Admission:
    """What is under way, over all services of one server. Used from the event loop only.

    Parameters
    ----------
    calls_max
        Most calls.
    rows_max
        Transactions or feature vectors in calls that carry several, from which on no further such call is let
        in. The last one may go beyond it.
    metrics
        What is counted.

    """

    def __init__(self, calls_max: int, rows_max: int, metrics: Metrics) -> None:
        self._calls_max = calls_max
        self._rows_max = rows_max
        self._calls = 0
        self._rows = 0
        self._turned_away = metrics.denied.labels("overload")
        # Made once: a call that is turned away must cost little.
        self._trailing = trailing(_CODE, "OVERLOADED", _MESSAGE, retry_later(_RETRY_SECONDS))

    def full(self, *, several: bool) -> bool:
        """Return whether no further call is let in that carries several transactions, or only one."""
        return self._calls >= self._calls_max or (several and self._rows >= self._rows_max)

    def enter(self, rows: int = 0) -> bool:
        """Let a call in; it must `leave` with the same `rows` (0: it carries one transaction at a time)."""
        if self.full(several=rows > 0):
            return False
        self._calls += 1
        self._rows += rows
        return True

    def leave(self, rows: int = 0) -> None:
        """Count a call that was let in as ended."""
        self._calls -= 1
        self._rows -= rows

    async def turn_away(self, context: grpc.aio.ServicerContext) -> NoReturn:
        """End a call that was not let in."""
        self._turned_away.inc()
        await context.abort(_CODE, _MESSAGE, (*(context.trailing_metadata() or ()), *self._trailing))
        raise AssertionError("a call goes on after its end")


class Admitting(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The methods of a service; at the bound, in place of each, one that turns the call away.

    Parameters
    ----------
    service
        Its full name.
    one, several
        Methods whose calls carry one transaction at a time, and those whose calls carry several.
    free
        Methods that are neither counted nor turned away.
    admission
        How much is let in.

    """

    def __init__(
        self,
        service: str,
        one: Mapping[str, grpc.RpcMethodHandler],
        several: Mapping[str, grpc.RpcMethodHandler],
        admission: Admission,
        free: Mapping[str, grpc.RpcMethodHandler] | None = None,
    ) -> None:
        self._free = {f"/{service}/{name}": handler for name, handler in (free or {}).items()}
        self._one = {f"/{service}/{name}": handler for name, handler in one.items()}
        self._several = {f"/{service}/{name}": handler for name, handler in several.items()}
        self._admission = admission

        async def turn_away(_requests: object, context: grpc.aio.ServicerContext) -> None:
            await admission.turn_away(context)

        # As a stream, because grpcio reads the message of any other call first.
        self._turning_away = grpc.stream_stream_rpc_method_handler(turn_away)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return the handler of a call, `None` for a method of another service."""
        method = handler_call_details.method
        several = self._several.get(method)
        found = several or self._one.get(method)
        if found is None:
            return self._free.get(method)
        return self._turning_away if self._admission.full(several=several is not None) else found
