"""Lets calls in: checks the token and the rate of each before anything of it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from fraudengine.serving.refusals import refuse, retry_later

if TYPE_CHECKING:
    from fraudengine.serving.auth import Clients
    from fraudengine.serving.metrics import Metrics

__all__ = ["Guard"]

_OPEN_TO_ALL = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)


class Guard:
    """Denies calls without a known token (UNAUTHENTICATED) or beyond a client's rate (RESOURCE_EXHAUSTED).

    Parameters
    ----------
    clients
        Who may call.
    metrics
        What is counted.

    """

    def __init__(self, clients: Clients, metrics: Metrics) -> None:
        self._clients = clients
        self._metrics = metrics

    def checked(
        self, handler: grpc.RpcMethodHandler, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Return the handler of the call, or one that denies it. What tells health needs no token."""
        if handler_call_details.method.startswith(_OPEN_TO_ALL):
            return handler
        wait = self._clients.wait_seconds(handler_call_details.invocation_metadata)
        if wait is None:
            self._metrics.denied.labels("token").inc()
            return _denying(handler, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", None)
        if wait > 0:
            self._metrics.denied.labels("rate").inc()
            return _denying(handler, grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_EXCEEDED", wait)
        return handler


def _denying(
    handler: grpc.RpcMethodHandler, code: grpc.StatusCode, reason: str, wait: float | None
) -> grpc.RpcMethodHandler:
    """Return a handler of the same kind that ends the call at once."""
    message = "the call carries no known bearer token" if wait is None else "the client's rate is exceeded"
    details = [] if wait is None else [retry_later(wait)]

    async def deny(_request: object, context: grpc.aio.ServicerContext) -> None:
        await refuse(context, code, reason, message, *details)

    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[handler.request_streaming, handler.response_streaming](deny)
