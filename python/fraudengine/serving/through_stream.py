"""`ScoringService` in front of the stream: a transaction goes to its topic, the stream's decision comes back.

The native part (`native/runtime/src/follow/`) knows who waits for what. One thread waits there, without the
GIL, and hands answers to the event loop as they come, all that are there at once.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from fraudengine import _native
from fraudengine.serving.scoring import BATCH_MAX, EXPIRED, Scored, ScoringService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from fraudengine.bundle import Bundle
    from fraudengine.config import Settings
    from fraudengine.serving.admission import Admission
    from fraudengine.serving.metrics import Metrics

__all__ = ["StreamScoringService"]

_WAIT_SECONDS = 0.1
_NO_DEADLINE = -1.0


class StreamScoringService(ScoringService):
    """The handlers of the service where the stream decides.

    Parameters
    ----------
    settings
        Effective settings; addresses that are empty are those of the running embedded services.
    bundle
        Model for answers without the stream; `None`: those follow from the amount alone.
    admission
        How much is let in.
    metrics
        What is counted.

    Raises
    ------
    ConfigError
        A setting cannot be used.
    ServiceError
        An address is missing.

    """

    def __init__(
        self, settings: Settings, bundle: Bundle | None, admission: Admission, metrics: Metrics
    ) -> None:
        super().__init__(admission, metrics)
        self._native = _native.StreamScoring(settings.native_json(), settings.serve_json())
        self._drain_seconds = settings.serve.drain_seconds
        if bundle is not None:
            self.activate(bundle)
        self._asking: list[tuple[bytes, float, asyncio.Future[Scored]]] = []
        self._by_ticket: dict[int, asyncio.Future[Scored]] = {}
        self._closed = threading.Event()
        self._carrier: threading.Thread | None = None
        metrics.show_stream(self._native.status)

    def start(self, say_ready: Callable[[bool], None]) -> None:
        """Begin to answer; `say_ready` is called in the loop when the replica has caught up or is behind."""
        loop = asyncio.get_running_loop()
        self._carrier = threading.Thread(
            target=self._carry, args=(loop, say_ready), name="answers", daemon=True
        )
        self._carrier.start()

    def _carry(self, loop: asyncio.AbstractEventLoop, say_ready: Callable[[bool], None]) -> None:
        """Carry answers to the loop until the end."""
        was_ready = False
        while not self._closed.is_set():
            answers = self._native.take(_WAIT_SECONDS)
            ready = self._native.is_ready()
            if self._closed.is_set():
                return
            if answers:
                loop.call_soon_threadsafe(self._deliver, answers)
            if ready != was_ready:
                loop.call_soon_threadsafe(say_ready, ready)
                was_ready = ready

    def _deliver(self, answers: list[tuple[int, bytes]]) -> None:
        for ticket, answer in answers:
            future = self._by_ticket.pop(ticket, None)
            # A call that was cancelled meanwhile waits no more.
            if future is not None and not future.done():
                future.set_result(answer)

    def _decided(self, request: bytes, context: grpc.aio.ServicerContext) -> asyncio.Future[Scored]:
        """Add the request to those that the next turn of the loop takes in."""
        loop = asyncio.get_running_loop()
        if not self._asking:
            loop.call_soon(self._ask)
        future: asyncio.Future[Scored] = loop.create_future()
        self._asking.append((request, _seconds_left(context), future))
        return future

    def _ask(self) -> None:
        taken = []
        for each in self._asking:
            # A call that was cancelled or whose time is over is not sent.
            if each[1] == 0 and not each[2].done():
                each[2].set_result(EXPIRED)
            if not each[2].done():
                taken.append(each)
        self._asking.clear()
        if not taken:
            return
        self._metrics.together.observe(len(taken))
        answers = self._native.ask([(request, seconds) for request, seconds, _ in taken])
        for (_, _, future), answer in zip(taken, answers, strict=True):
            if isinstance(answer, int):
                self._by_ticket[answer] = future
            else:
                future.set_result(answer)

    async def _decided_batch(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        seconds = _seconds_left(context)
        if seconds == 0:
            return EXPIRED
        loop = asyncio.get_running_loop()
        # Known before anybody can answer it.
        ticket = self._native.ticket()
        future: asyncio.Future[Scored] = loop.create_future()
        self._by_ticket[ticket] = future
        refusal: tuple[str, str, str] | None = await loop.run_in_executor(
            self._batches, self._native.ask_batch, ticket, request, BATCH_MAX, seconds
        )
        if refusal is not None:
            del self._by_ticket[ticket]
            return refusal
        return await future

    def activate(self, bundle: Bundle) -> None:
        """Answer with another bundle where the stream does not answer in time."""
        self._native.activate(bundle.activation())

    def customer_windows(self, customer_id: str) -> Mapping[str, float]:
        """Return the windows of a customer in the replica."""
        return self._native.customer_windows(customer_id) or {}

    @property
    def native(self) -> _native.StreamScoring:
        """Who hands transactions to the stream and has its answers."""
        return self._native

    def status(self) -> dict[str, Any]:
        """Return what it is doing, with counters."""
        return self._native.status()

    def close(self) -> None:
        """Let the broker take what is under way, for `serve.drain_seconds` at most, and end."""
        super().close()
        self._closed.set()
        self._native.close(self._drain_seconds)
        if self._carrier is not None:
            self._carrier.join()


def _seconds_left(context: grpc.aio.ServicerContext) -> float:
    left = context.time_remaining()
    return _NO_DEADLINE if left is None else max(0.0, left)
