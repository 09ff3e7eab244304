"""`Client`: calls that block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc

from fraudengine.client.batches import Batch, Given, Outcome, batches, check_batch
from fraudengine.client.connection import SCORE, SCORE_BATCH, Connection, Tls, failure
from fraudengine.client.no_answer import NoAnswer, OnNoAnswer, without_answer
from fraudengine.client.results import Decision, decision_of
from fraudengine.client.transaction import as_transaction, to_message
from fraudengine.errors import NoAnswerError
from fraudengine.wire.scoring_pb2 import ScoreBatchRequest, ScoreBatchResponse, ScoreRequest, ScoreResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = ["Client"]


class Client:
    """A client of the scoring service; safe to use from several threads, made anew after a fork.

    Parameters
    ----------
    address
        `HOST:PORT` of the service.
    token
        Bearer token; sent in plain text to loopback addresses only.
    tls
        How to encrypt; None: plain text.
    plaintext_anywhere
        Allow a token in plain text to any address, for example inside a mesh that encrypts.
    timeout_seconds
        Deadline of `score`, above 0: an answer or an error comes within it, retries included.
    batch_timeout_seconds
        Deadline of one batch of `score_many`, above 0.
    retries
        How often a call is tried again when the service is unavailable, 0 to 4, with a pause that begins at
        about 20 ms. Nothing is decided twice: the service answers an id again as it did first.
    on_no_answer
        What to do with a transaction that the service did not decide (unreachable, too late, over its
        limits): raise, review, block, or a function such as `by_amount`. The decision then has `no_answer`.

    Raises
    ------
    ConfigError
        A value is out of its range, a file cannot be read, or a token would travel in plain text.

    Examples
    --------
    >>> import fraudengine
    >>> from fraudengine.client import NoAnswer
    >>> client = fraudengine.Client("127.0.0.1:1", retries=0, on_no_answer=NoAnswer.REVIEW)
    >>> payment = {"transaction_id": "t1", "event_time": "2025-01-01T12:00:00Z", "customer_id": "c1",
    ...            "amount": "19.99", "currency": "EUR"}
    >>> decision = client.score(payment)  # nobody listens there
    >>> decision.action.name, decision.answered, decision.no_answer.status
    ('REVIEW', False, 'UNAVAILABLE')
    >>> client.close()
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
            self._channel = grpc.insecure_channel(told.address, told.options())
        else:
            self._channel = grpc.secure_channel(told.address, told.tls.credentials(), told.options())
        self._metadata = told.metadata()
        self._score = self._channel.unary_unary(
            SCORE, ScoreRequest.SerializeToString, ScoreResponse.FromString
        )
        self._score_batch = self._channel.unary_unary(
            SCORE_BATCH, ScoreBatchRequest.SerializeToString, ScoreBatchResponse.FromString
        )

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()

    def score(self, transaction: Given, *, timeout_seconds: float | None = None) -> Decision:
        """Decide one transaction.

        Parameters
        ----------
        transaction
            A `Transaction`, or a mapping with its names.
        timeout_seconds
            Deadline; None: that of the client.

        Raises
        ------
        RefusedError
            The transaction breaks the schema; field and code are told.
        NoAnswerError
            There was no decision, and `on_no_answer` is to raise.
        AccessDeniedError
            The token is missing or wrong.
        ScoringError
            There is no scoring service at the address.
        """
        asked = as_transaction(transaction)
        request = ScoreRequest(transaction=to_message(asked))
        timeout = self._told.timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            response = self._score(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            why = failure(error)
            if isinstance(why, NoAnswerError):
                return without_answer(self._told.on_no_answer, asked, why)
            raise why from error
        return decision_of(response.decision)

    def score_many(self, transactions: Iterable[Given], *, batch: int = 256) -> Iterator[Outcome]:
        """Decide transactions in their order, as they are asked for; what comes of each, in the same order.

        One batch is under way while the results of the one before it are taken, so memory holds two. A
        service that is away is waited for until the deadline of the batch.

        Parameters
        ----------
        transactions
            Read as the results are taken. One that breaks the schema becomes a `Refusal`, the others are
            decided.
        batch
            Most transactions of one call, 1 to 4,096.

        Raises
        ------
        NoAnswerError
            A batch had no answer, and `on_no_answer` is to raise. What it held may have been decided.
        AccessDeniedError, ScoringError
            As `score`.
        ConfigError
            `batch` is out of its range.
        """
        check_batch(batch)
        return self._score_many(transactions, batch)

    def _score_many(self, transactions: Iterable[Given], size: int) -> Iterator[Outcome]:
        before: tuple[Batch, Any] | None = None
        call: Any = None
        try:
            for batch in batches(transactions, size):
                # The one before must be decided first: a retry might otherwise come behind this one.
                settled = None if before is None else (before[0], _settled(before[1]))
                call = self._begin(batch)
                if settled is not None:
                    yield from settled[0].outcomes(settled[1], self._told.on_no_answer)
                before = (batch, call)
            if before is not None:
                yield from before[0].outcomes(_settled(before[1]), self._told.on_no_answer)
        finally:
            if call is not None:
                call.cancel()

    def _begin(self, batch: Batch) -> Any:  # noqa: ANN401 - grpcio has no types
        if not batch.request.transactions:
            return None
        return self._score_batch.future(
            batch.request,
            timeout=self._told.batch_timeout_seconds,
            metadata=self._metadata,
            wait_for_ready=True,
        )


def _settled(call: Any) -> ScoreBatchResponse | grpc.RpcError:  # noqa: ANN401 - grpcio has no types
    """Wait for a call; return its response or its failure."""
    if call is None:
        return ScoreBatchResponse()
    try:
        response: ScoreBatchResponse = call.result()
    except grpc.RpcError as error:
        return error
    return response
