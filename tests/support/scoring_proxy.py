"""A bad network before a scoring server: it loses requests, loses answers, or holds calls for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal

import grpc

__all__ = ["Proxy", "proxied"]

Fault = Literal["lose request", "lose answer", "hold"]
TIMEOUT_SECONDS = 20.0


class Proxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Forwards unary calls; the first ones meet the faults given, one each."""

    def __init__(self, target: str, faults: Sequence[Fault]) -> None:
        self.address = ""
        self.calls = 0
        self.deadlines: list[float] = []
        self._faults = list(faults)
        self._channel = grpc.insecure_channel(target)
        self._lock = threading.Lock()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of any method."""
        forward = self._channel.unary_unary(handler_call_details.method)

        def handle(request: bytes, context: grpc.ServicerContext) -> Any:
            with self._lock:
                self.calls += 1
                self.deadlines.append(context.time_remaining())
                fault = self._faults.pop(0) if self._faults else None
            if fault == "hold":
                ended = threading.Event()
                context.add_callback(ended.set)
                ended.wait(TIMEOUT_SECONDS)
                return b""
            if fault == "lose request":
                context.abort(grpc.StatusCode.UNAVAILABLE, "the request was lost")
            answer = forward(request, timeout=TIMEOUT_SECONDS)
            if fault == "lose answer":
                context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
            return answer

        return grpc.unary_unary_rpc_method_handler(handle)

    def close(self) -> None:
        """Close the way to the server."""
        self._channel.close()


@contextmanager
def proxied(target: str, *faults: Fault) -> Iterator[Proxy]:
    """Yield a proxy that listens before a server."""
    proxy = Proxy(target, faults)
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=(proxy,))
        proxy.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield proxy
        finally:
            server.stop(0).wait(TIMEOUT_SECONDS)
            proxy.close()
