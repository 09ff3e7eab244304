"""Time limits of reads: a read ends when its time is over, whatever the server does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from fraudengine.errors import StoreTimeoutError

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Reads"]

T = TypeVar("T")


class Reads:
    """Reads of one store that are under way, those that nobody waits for any more included.

    A driver that cancels a query waits for the server to agree. Whoever asked does not: the read is told to
    end and goes on ending by itself.

    Parameters
    ----------
    store
        Name for errors.

    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._running: set[asyncio.Task[object]] = set()

    async def within(self, seconds: float, read: Coroutine[object, object, T]) -> T:
        """Return what a read returns.

        Raises
        ------
        StoreTimeoutError
            It took longer.

        """
        task = asyncio.ensure_future(read)
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise StoreTimeoutError(self._store, f"no answer within {seconds:.3g} s")
        return task.result()

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Looked at, so that an error that nobody waits for any more is not reported as forgotten.
            task.exception()

    async def close(self) -> None:
        """Tell all reads to end, and wait for a second."""
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)
