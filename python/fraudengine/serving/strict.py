"""Services of libraries, made strict: what is not their message is INVALID_ARGUMENT, and nothing is logged.

By itself grpcio answers such bytes with UNKNOWN and writes a traceback, which callers could fill a disk with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from fraudengine.serving.refusals import refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fraudengine.serving.front import Front

__all__ = ["Strict"]

Context = Any
"""`grpc.aio.ServicerContext`; grpcio has no types."""

Parse = Callable[[bytes], Any]


class Strict:
    """Takes a server's place where a library adds its service to it.

    Parameters
    ----------
    server
        Where the service is added, its methods strict.

    """

    def __init__(self, server: Front) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add handlers as a server does."""
        self._server.add_generic_rpc_handlers(tuple(_Handler(each) for each in handlers))

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Do nothing: a server of asyncio takes the generic handlers."""


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    def __init__(self, inner: grpc.GenericRpcHandler) -> None:
        self._inner = inner

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = self._inner.service(handler_call_details)
        if found is None:
            return None
        parse, encode = found.request_deserializer, found.response_serializer
        if found.stream_stream:
            stream = _of_stream(found.stream_stream, parse)
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=encode)
        if found.unary_stream:
            one = _of_one(found.unary_stream, parse)
            return grpc.unary_stream_rpc_method_handler(one, response_serializer=encode)
        if found.unary_unary:
            one = _of_one(found.unary_unary, parse)
            return grpc.unary_unary_rpc_method_handler(one, response_serializer=encode)
        raise NotImplementedError("no library that we use streams requests to one answer")


def _of_one(method: Callable[[Any, Context], Awaitable[Any]], parse: Parse) -> Callable[..., Awaitable[Any]]:
    """Return the method on bytes; one that streams writes to its context, as `grpc_health` does."""

    async def strict(request: bytes, context: Context) -> Any:  # noqa: ANN401
        return await method(await _parsed(parse, request, context), context)

    return strict


def _of_stream(
    method: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]], parse: Parse
) -> Callable[..., AsyncIterator[Any]]:
    """Return the method on a stream of bytes."""

    async def strict(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        asked = (await _parsed(parse, request, context) async for request in requests)
        async for answer in method(asked, context):
            yield answer

    return strict


async def _parsed(parse: Parse, request: bytes, context: Context) -> Any:  # noqa: ANN401
    try:
        return parse(request)
    except DecodeError:
        code, message = grpc.StatusCode.INVALID_ARGUMENT, "the request is not the message of this method"
        await refuse(context, code, "MALFORMED", message)
