"""`AsyncClient`: the client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Self

import grpc

from fraudengine.client.batches import Batch, Given, Outcome, check_batch
from fraudengine.client.connection import SCORE, SCORE_BATCH, Connection, Tls, failure
from fraudengine.client.no_answer import NoAnswer, OnNoAnswer, without_answer
from fraudengine.client.results import Decision, decision_of
from fraudengine.client.transaction import as_transaction, to_message
from fraudengine.errors import NoAnswerError
from fraudengine.wire.scoring_pb2 import ScoreBatchRequest, ScoreBatchResponse, ScoreRequest, ScoreResponse

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AsyncClient"]


class AsyncClient:
    """A client of the scoring service for asyncio; made and used inside one event loop.

    Parameters and meaning of everything are those of `Client`.

    Examples
    --------
    >>> import asyncio
    >>> import fraudengine
    >>> from fraudengine.client import NoAnswer
    >>> async def pay() -> str:
    ...     told = {"retries": 0, "on_no_answer": NoAnswer.BLOCK}
    ...     async with fraudengine.AsyncClient("127.0.0.1:1", **told) as client:
    ...         decision = await client.score({"transaction_id": "t1", "event_time": "2025-01-01T12:00:00Z",
    ...                                        "customer_id": "c1", "amount_minor": 1999})
    ...         return decision.action.name
    >>> asyncio.run(pay())  # nobody listens there
    'BLOCK'
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        plaintext_anywhere: bool = False,
        timeout_seconds: float = Connection.timeout_seconds,
        batch_timeout_seconds: float = Connection.batch_timeout_seconds,
        retries: int = Connection.retries,
        on_no_answer: OnNoAnswer = NoAnswer.RAISE,
    ) -> None:
        self._told = told = Connection(
            address=address,
            token=token,
            tls=tls,
            plaintext_anywhere=plaintext_anywhere,
            timeout_seconds=timeout_seconds,
            batch_timeout_seconds=batch_timeout_seconds,
            retries=retries,
            on_no_answer=on_no_answer,
        )
        if told.tls is None:
            self._channel = grpc.aio.insecure_channel(told.address, told.options())
        else:
            self._channel = grpc.aio.secure_channel(told.address, told.tls.credentials(), told.options())
        self._metadata = told.metadata()
        self._score = self._channel.unary_unary(
            SCORE, ScoreRequest.SerializeToString, ScoreResponse.FromString
        )
        self._score_batch = self._channel.unary_unary(
            SCORE_BATCH, ScoreBatchRequest.SerializeToString, ScoreBatchResponse.FromString
        )

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def score(self, transaction: Given, *, timeout_seconds: float | None = None) -> Decision:
        """Decide one transaction; see `Client.score`. Cancelling the task cancels the call."""
        asked = as_transaction(transaction)
        request = ScoreRequest(transaction=to_message(asked))
        timeout = self._told.timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            response = await self._score(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            why = failure(error)
            if isinstance(why, NoAnswerError):
                return without_answer(self._told.on_no_answer, asked, why)
            raise why from error
        return decision_of(response.decision)

    def score_many(
        self, transactions: Iterable[Given] | AsyncIterable[Given], *, batch: int = 256
    ) -> AsyncIterator[Outcome]:
        """Decide transactions in their order; see `Client.score_many`.

        Raises
        ------
        ConfigError
            `batch` is out of its range.
        """
        check_batch(batch)
        return self._score_many(transactions, batch)

    async def _score_many(
        self, transactions: Iterable[Given] | AsyncIterable[Given], size: int
    ) -> AsyncIterator[Outcome]:
        before: tuple[Batch, Any] | None = None
        call: Any = None
        try:
            async for batch in _batches(transactions, size):
                # The one before must be decided first: a retry might otherwise come behind this one.
                settled = None if before is None else (before[0], await _settled(before[1]))
                call = self._begin(batch)
                if settled is not None:
                    for outcome in settled[0].outcomes(settled[1], self._told.on_no_answer):
                        yield outcome
                before = (batch, call)
            if before is not None:
                for outcome in before[0].outcomes(await _settled(before[1]), self._told.on_no_answer):
                    yield outcome
        finally:
            if call is not None:
                call.cancel()

    def _begin(self, batch: Batch) -> Any:  # noqa: ANN401 - grpcio has no types
        if not batch.request.transactions:
            return None
        timeout = self._told.batch_timeout_seconds
        return self._score_batch(batch.request, timeout=timeout, metadata=self._metadata, wait_for_ready=True)


async def _batches(transactions: Iterable[Given] | AsyncIterable[Given], size: int) -> AsyncIterator[Batch]:
    batch = Batch()
    async for given in _each(transactions):
        batch.add(given)
        if batch.full(size):
            yield batch
            batch = Batch()
    if batch.places:
        yield batch


async def _each(transactions: Iterable[Given] | AsyncIterable[Given]) -> AsyncIterator[Given]:
    if isinstance(transactions, AsyncIterable):
        async for given in transactions:
            yield given
    else:
        for given in transactions:
            yield given


async def _settled(call: Any) -> ScoreBatchResponse | grpc.RpcError:  # noqa: ANN401 - grpcio has no types
    """Wait for a call; return its response or its failure."""
    if call is None:
        return ScoreBatchResponse()
    try:
        response: ScoreBatchResponse = await call
    except grpc.RpcError as error:
        return error
    return response
