"""One line in the log for a call, and an id that joins it with the caller's own log.

The id is the metadata `x-request-id` of the call where that is sane, otherwise made here; it goes back in
the trailing metadata. Scoring is too frequent for a line each: there only what failed or was slow is told
unless asked for, and at most `LINES_A_SECOND`. Nothing of a request's content is ever logged.
"""

from __future__ import annotations

import inspect
import itertools
import math
import secrets
import time
from typing import TYPE_CHECKING, Any

import grpc

from fraudengine import _native
from fraudengine.log_lines import STANDARD_ERROR, LineLogger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from fraudengine.settings import LogSettings, ServeSettings

__all__ = ["REQUEST_ID", "CallLog", "CallLogger", "request_id_of"]

REQUEST_ID = "x-request-id"
"""Name of the metadata that carry the id."""
HANDLERS_MAX = 256
"""Most handlers that are kept with their line around them; some are made for one call only."""
LINES_A_SECOND = 100
"""Most lines about scoring; further ones are counted and told with the next."""

_QUIET = ("/grpc.", "/inference.")
_SCORING = "/fraudengine.v1.ScoringService/"
_CODES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
_MINE = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED", "UNAVAILABLE"}


def request_id_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """Return the id that the caller sent, if it is sane: short, plain, no card number."""
    for key, value in metadata or ():
        if key == REQUEST_ID:
            return value if isinstance(value, str) and _native.is_request_id(value) else None
    return None


class CallLogger(LineLogger):
    """Writes the lines.

    Parameters
    ----------
    log
        Level and format.
    descriptor
        File that the lines go to; standard error unless told otherwise.

    """

    def __init__(self, log: LogSettings, descriptor: int = STANDARD_ERROR) -> None:
        super().__init__("call", log, descriptor)


class CallLog:
    """Gives calls their id and tells about them.

    Parameters
    ----------
    serve
        Which calls of scoring are told, and what is slow.
    logger
        Writes the lines.

    """

    def __init__(self, serve: ServeSettings, logger: CallLogger) -> None:
        self._told_of = serve.log_scores
        self._slow_seconds = serve.slow_ms / 1e3
        self._logger = logger
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        # By method and handler: the same method may be turned away, by another handler.
        self._wrapped: dict[tuple[str, int], tuple[grpc.RpcMethodHandler, grpc.RpcMethodHandler]] = {}
        self._second, self._lines, self._left_out = 0, 0, 0

    def unknown(self, method: str) -> None:
        """Tell about a call to a method that does not exist."""
        self._logger.told("info", {"method": method[:100], "code": "UNIMPLEMENTED"})

    def around(self, handler: grpc.RpcMethodHandler, method: str) -> grpc.RpcMethodHandler:
        """Return the handler of a method, with the line around it."""
        known = self._wrapped.get((method, id(handler)))
        if known is None or known[0] is not handler:
            if len(self._wrapped) >= HANDLERS_MAX:
                self._wrapped.clear()
            known = self._wrapped[method, id(handler)] = (handler, self._around(handler, method))
        return known[1]

    def _around(self, handler: grpc.RpcMethodHandler, method: str) -> grpc.RpcMethodHandler:
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            inner = getattr(handler, kind)
            if inner is None:
                continue
            if inspect.isasyncgenfunction(inner):
                outer: Any = self._around_generator(inner, method)
            elif inspect.iscoroutinefunction(inner):
                # A stream lasts as long as its caller wants.
                slow_seconds = self._slow_seconds if kind == "unary_unary" else math.inf
                outer = self._around_coroutine(inner, method, slow_seconds)
            else:
                return handler
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            return make(outer, handler.request_deserializer, handler.response_serializer)
        return handler

    def _around_coroutine(
        self, inner: Callable[..., Awaitable[Any]], method: str, slow_seconds: float
    ) -> Callable[..., Any]:
        async def call(request: object, context: grpc.aio.ServicerContext) -> object:
            told, began = self._begin(context), time.perf_counter()
            ended: BaseException | None = None
            try:
                return await inner(request, context)
            except BaseException as error:
                ended = error
                raise
            finally:
                seconds = time.perf_counter() - began
                code, is_slow = _code(context, ended), seconds > slow_seconds
                self._end(method, told, code, context.peer, seconds, is_slow=is_slow)

        return call

    def _around_generator(self, inner: Callable[..., AsyncIterator[Any]], method: str) -> Callable[..., Any]:
        async def call(request: object, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
            told, began = self._begin(context), time.perf_counter()
            # A stream whose caller has gone is ended later, when grpcio has freed what this asks.
            peer: str = context.peer()
            ended: BaseException | None = None
            try:
                async for answer in inner(request, context):
                    yield answer
            except BaseException as error:
                ended = error
                raise
            finally:
                self._end(
                    method,
                    told,
                    _code(context, ended),
                    lambda: peer,
                    time.perf_counter() - began,
                    is_slow=False,
                )

        return call

    def _begin(self, context: grpc.aio.ServicerContext) -> str:
        told = request_id_of(context.invocation_metadata()) or f"{self._prefix}-{next(self._numbers):x}"
        context.set_trailing_metadata(((REQUEST_ID, told),))
        return told

    def _end(
        self,
        method: str,
        told: str,
        code: str,
        peer: Callable[[], str],
        seconds: float,
        *,
        is_slow: bool,
    ) -> None:
        problem = code != "OK" or is_slow
        scoring = method.startswith(_SCORING)
        if scoring or method.startswith(_QUIET):
            wanted = self._told_of if scoring else "problems"
            if wanted == "none" or (wanted == "problems" and not problem) or not self._has_room():
                return
        fields = {
            "request_id": told,
            "method": method,
            "code": code,
            "ms": round(seconds * 1e3, 3),
            "peer": peer(),
        }
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        self._logger.told("warn" if code in _MINE else "info", fields)

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= LINES_A_SECOND:
            return True
        self._left_out += 1
        return False


def _code(context: grpc.aio.ServicerContext, error: BaseException | None) -> str:
    """Return the name of the status that a call ended with."""
    if error is None or isinstance(error, grpc.aio.AbortError):
        code = context.code()
        number = code.value[0] if isinstance(code, grpc.StatusCode) else code
        return _CODES.get(number or 0, "UNKNOWN")
    return "CANCELLED" if not isinstance(error, Exception) else "UNKNOWN"
