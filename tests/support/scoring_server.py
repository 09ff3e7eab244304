"""A scoring server on a loopback port, in a thread of the test's process, and calls to it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import grpc
from google.rpc.status_pb2 import Status

from fraudengine.bundle import Bundle
from fraudengine.config import load
from fraudengine.serving import ScoringServer

__all__ = ["at", "call", "details", "held_open", "running", "stalled"]

PATH = "/fraudengine.v1.ScoringService/"
TIMEOUT_SECONDS = 20.0

_LOOPS: WeakKeyDictionary[ScoringServer, asyncio.AbstractEventLoop] = WeakKeyDictionary()


@contextmanager
def running(bundle: Path | None, settings: Mapping[str, object] | None = None) -> Iterator[ScoringServer]:
    """Yield a server that answers by both transports, from a warm state; it has drained at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scoring server")
    thread.start()

    async def begin() -> ScoringServer:
        own = {"serve.port": 0, "serve.native_port": 0, "serve.warm_transactions": 0, "http.port": 0}
        told = load(flags={**own, **(settings or {})})
        server = ScoringServer(told, None if bundle is None else Bundle.load(bundle))
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(TIMEOUT_SECONDS)
        _LOOPS[server] = loop
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(TIMEOUT_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_SECONDS)
        loop.close()


def at(server: ScoringServer, transport: str) -> str:
    """Return the address of one of its transports."""
    address = server.native_address if transport == "native" else server.address
    assert address is not None
    return address


@contextmanager
def stalled(server: ScoringServer) -> Iterator[None]:
    """Keep the server from doing anything until the block ends."""
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        released.wait(TIMEOUT_SECONDS)

    _LOOPS[server].call_soon_threadsafe(hold)
    assert held.wait(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        released.set()


@contextmanager
def held_open(*first: bytes) -> Iterator[Iterator[bytes]]:
    """Yield the requests of a stream that goes on until the block ends."""
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    for request in first:
        requests.put(request)
    try:
        yield iter(requests.get, None)
    finally:
        requests.put(None)


def call(channel: grpc.Channel, method: str, request: bytes, token: str | None = None) -> bytes:
    """Return the bytes of the answer to the bytes of a request."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    answer: bytes = channel.unary_unary(PATH + method)(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
    return answer


def details(error: grpc.RpcError) -> dict[str, Any]:
    """Return the details of a refusal by the name of their message."""
    found: dict[str, Any] = {}
    packed = next(value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
    for each in Status.FromString(packed).details:
        found[each.type_url.rsplit(".", 1)[-1]] = each.value
    return found
