"""Streams of requests, answered in their order while the next ones are read.

What a stream sends is handed on as it is read, so that what waits together is decided together, also with the
calls of others. At most a given number is read ahead of the answers; then reading stops, and gRPC's flow
control stops the caller.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["IN_FLIGHT_MAX", "pipelined"]

IN_FLIGHT_MAX = 256
"""Most requests of one stream that are read and not answered."""

Answer = TypeVar("Answer")


async def pipelined(
    requests: AsyncIterator[bytes], decide: Callable[[bytes], Awaitable[Answer]], most: int = IN_FLIGHT_MAX
) -> AsyncIterator[Answer]:
    """Yield the answer to each request, in order.

    Parameters
    ----------
    requests
        Read ahead of the answers.
    decide
        Begins to decide a request, and returns what its answer can be awaited on.
    most
        Requests that may be read and not answered, at least 1.

    Raises
    ------
    Exception
        What reading or deciding raised, after the answers before it.
    """
    # The one whose answer is awaited is in flight too.
    begun: asyncio.Queue[asyncio.Future[Answer] | None] = asyncio.Queue()
    room = asyncio.Semaphore(most)

    async def read() -> None:
        try:
            await room.acquire()
            async for request in requests:
                begun.put_nowait(asyncio.ensure_future(decide(request)))
                await room.acquire()
        finally:
            begun.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (answer := await begun.get()) is not None:
            yield await answer
            room.release()
        await reading
    finally:
        # The caller has gone, or deciding failed: what is not decided yet changes no state.
        reading.cancel()
        while not begun.empty():
            left = begun.get_nowait()
            if left is not None:
                left.cancel()
