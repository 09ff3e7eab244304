"""`ScoringService`: the bytes of a request go to who decides as they are, the bytes of the answer come back.

No message is parsed here. `OwnScoringService` has an engine of its own: a single call is decided when it
comes, what is read ahead of streams in one call of the engine for all of it; batches run on a thread of their
own, piece by piece, and let others through between two pieces. The other kind is in `through_stream`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import grpc

from fraudengine import _native
from fraudengine.serving.admission import Admitting
from fraudengine.serving.pipeline import pipelined
from fraudengine.serving.refusals import bad_request, refuse
from fraudengine.varint import varint
from fraudengine.wire.scoring_pb2 import Refusal, ScoreResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from fraudengine.bundle import Bundle
    from fraudengine.engine import Engine
    from fraudengine.serving.admission import Admission
    from fraudengine.serving.metrics import Metrics
    from fraudengine.serving.own_state import StateKeeper

__all__ = ["BATCH_MAX", "SERVICE", "OwnScoringService", "Scored", "ScoringService"]

SERVICE = "fraudengine.v1.ScoringService"
BATCH_MAX = 4_096
"""Most transactions of one `ScoreBatch`."""

Scored = bytes | tuple[str, str, str]

EXPIRED = ("", "deadline_passed", "the deadline passed before anything was decided; nothing has changed")
"""Refusal of a call that came, or got its turn, too late."""


class ScoringService(ABC):
    """The handlers of the service, whoever decides.

    Parameters
    ----------
    admission
        How much is let in.
    metrics
        What is counted.

    """

    def __init__(self, admission: Admission, metrics: Metrics) -> None:
        self._admission = admission
        self._metrics = metrics
        self._batches = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods by name, all of them on bytes."""
        one = {
            "Score": grpc.unary_unary_rpc_method_handler(self.score),
            "ScoreStream": grpc.stream_stream_rpc_method_handler(self.score_stream),
        }
        several = {"ScoreBatch": grpc.unary_unary_rpc_method_handler(self.score_batch)}
        return Admitting(SERVICE, one, several, self._admission)

    def close(self) -> None:
        """Wait for the batch under way."""
        self._batches.shutdown()

    async def score(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ScoreRequest`."""
        with self._metrics.call("Score"):
            if not self._admission.enter():
                await self._admission.turn_away(context)
            try:
                answer = await self._single(request, context)
            finally:
                self._admission.leave()
            if isinstance(answer, bytes):
                return answer
            await self._refuse(context, answer)

    async def score_batch(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ScoreBatchRequest`."""
        with self._metrics.call("ScoreBatch"):
            rows = max(1, _native.Scoring.rows(request, BATCH_MAX))
            if not self._admission.enter(rows):
                await self._admission.turn_away(context)
            try:
                answer = await self._decided_batch(request, context)
            finally:
                self._admission.leave(rows)
            if isinstance(answer, bytes):
                return answer
            await self._refuse(context, answer)

    async def score_stream(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        """Answer each `ScoreStreamRequest` in turn; it has the shape of a `ScoreRequest`."""
        if not self._admission.enter():
            await self._admission.turn_away(context)

        async def decided(request: bytes) -> Scored:
            with self._metrics.call("ScoreStream"):
                return await self._decided(request, context)

        try:
            async for answer in pipelined(requests, decided):
                if answer is EXPIRED:
                    await self._refuse(context, answer)
                yield _stream_response(answer)
        finally:
            self._admission.leave()

    @abstractmethod
    def activate(self, bundle: Bundle) -> None:
        """Answer with another bundle from the next call on."""

    @abstractmethod
    def customer_windows(self, customer_id: str) -> Mapping[str, float]:
        """Return the windows of a customer, by the catalogue's names; none: the customer is not known.

        Waits for the batch that is being decided, so it is called off the event loop.
        """

    @property
    @abstractmethod
    def native(self) -> _native.Scoring | _native.StreamScoring:
        """Who decides, for a transport that asks by itself."""

    @abstractmethod
    def start(self, say_ready: Callable[[bool], None]) -> None:
        """Begin to answer; `say_ready` is called in the loop whenever it becomes ready, or no longer is."""

    async def _single(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        """Return the answer to a call that carries one request."""
        return await self._decided(request, context)

    @abstractmethod
    def _decided(self, request: bytes, context: grpc.aio.ServicerContext) -> asyncio.Future[Scored]:
        """Return the answer to one request, when it is there."""

    @abstractmethod
    async def _decided_batch(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        """Return the answer to a batch."""

    async def _refuse(self, context: grpc.aio.ServicerContext, refusal: tuple[str, str, str]) -> NoReturn:
        field, code, message = refusal
        self._metrics.refused.labels(code).inc()
        if refusal is EXPIRED:
            await refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, code.upper(), message)
        details = [bad_request(field, message)] if field else []
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, code.upper(), message, *details)


class OwnScoringService(ScoringService):
    """The handlers of a service that decides by itself.

    Parameters
    ----------
    scoring
        What decides.
    admission
        How much is let in.
    metrics
        What is counted.
    engine
        The state.
    keeper
        Who keeps it across restarts; `None`: nobody.

    """

    def __init__(
        self,
        scoring: _native.Scoring,
        admission: Admission,
        metrics: Metrics,
        engine: Engine,
        keeper: StateKeeper | None = None,
    ) -> None:
        super().__init__(admission, metrics)
        self._scoring = scoring
        self._keeper = keeper
        self._engine = engine
        self._waiting: list[tuple[bytes, asyncio.Future[Scored], grpc.aio.ServicerContext]] = []

    def start(self, say_ready: Callable[[bool], None]) -> None:
        """Begin to answer: at once."""
        if self._keeper is not None:
            self._keeper.start(self._engine)
        say_ready(True)

    def close(self) -> None:
        """Wait for the batch under way, and write the state."""
        super().close()
        if self._keeper is not None:
            self._keeper.close()

    def customer_windows(self, customer_id: str) -> Mapping[str, float]:
        """Return the windows of a customer."""
        return self._engine.customer_windows(customer_id) or {}

    def activate(self, bundle: Bundle) -> None:
        """Decide with another bundle from the next call on."""
        self._scoring.activate(bundle.activation())

    @property
    def native(self) -> _native.Scoring:
        """Who decides."""
        return self._scoring

    def snapshot(self) -> bytes:
        """Return the state as bytes."""
        return self._engine.snapshot()

    async def _single(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        """Decide at once: grpcio hands calls over one by one, so others to wait for are rare."""
        if _expired(context):
            return EXPIRED
        answer: Scored
        (answer,) = self._scoring.score([request])
        return answer

    async def _decided_batch(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._batches, self._batch, request, context)

    def _batch(self, request: bytes, context: grpc.aio.ServicerContext) -> Scored:
        # Its turn may come late. One that was cancelled while it waited does not come here.
        return EXPIRED if _expired(context) else self._scoring.score_batch(request, BATCH_MAX)

    def _decided(self, request: bytes, context: grpc.aio.ServicerContext) -> asyncio.Future[Scored]:
        """Add the request to those that the next turn of the loop decides."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._decide)
        answer: asyncio.Future[Scored] = loop.create_future()
        self._waiting.append((request, answer, context))
        return answer

    def _decide(self) -> None:
        taken = []
        for request, future, context in self._waiting:
            # A call that was cancelled or whose time is over changes no state.
            if future.done():
                continue
            if _expired(context):
                future.set_result(EXPIRED)
            else:
                taken.append((request, future))
        self._waiting.clear()
        if not taken:
            return
        try:
            answers = self._scoring.score([request for request, _ in taken])
        except BaseException as error:
            for _, future in taken:
                future.set_exception(error)
            raise
        self._metrics.together.observe(len(taken))
        for (_, future), answer in zip(taken, answers, strict=True):
            future.set_result(answer)


def _expired(context: grpc.aio.ServicerContext) -> bool:
    left = context.time_remaining()
    return left is not None and left <= 0


def _stream_response(answer: Scored) -> bytes:
    if isinstance(answer, bytes):
        # A `ScoreResponse` has the bytes of a `ScoreResult`: the decision is field 1 of both.
        result = answer
    else:
        field, code, message = answer
        refusal = Refusal(field=field, code=code, message=message)
        result = ScoreResult(refusal=refusal).SerializeToString()
    return b"\x0a" + varint(len(result)) + result
