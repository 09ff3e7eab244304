"""Many transactions as requests of `ScoreBatch`, and their answers back in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from fraudengine.client.connection import failure
from fraudengine.client.no_answer import OnNoAnswer, without_answer
from fraudengine.client.results import Decision, Refusal, outcome_of
from fraudengine.client.transaction import Transaction, TransactionFields, as_transaction, to_message
from fraudengine.errors import ConfigError, NoAnswerError, RefusedError
from fraudengine.wire.scoring_pb2 import ScoreBatchRequest, ScoreBatchResponse

__all__ = ["Batch", "Given", "Outcome", "batches", "check_batch"]

BATCH_MAX = 4_096
_BYTES_MAX = 2 << 20
"""Below the least that a service takes by its defaults (`serve.message_bytes_max`)."""

Given = Transaction | TransactionFields | Mapping[str, Any]
"""A transaction as the client takes it."""

Outcome = Decision | Refusal
"""What comes of one of several transactions."""


@dataclass(slots=True)
class Batch:
    """Transactions of one call, and those among them that were refused before it."""

    request: ScoreBatchRequest = field(default_factory=ScoreBatchRequest)
    places: list[Transaction | Refusal] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, given: Given) -> None:
        """Add a transaction at the end."""
        try:
            transaction = as_transaction(given)
            message = to_message(transaction)
        except RefusedError as error:
            self.places.append(Refusal.of(error, _id_of(given)))
            return
        self.places.append(transaction)
        self.request.transactions.append(message)
        self.size_bytes += message.ByteSize()

    def full(self, size: int) -> bool:
        """Return whether it holds `size` transactions, or as many bytes as one call may have."""
        return len(self.places) >= size or self.size_bytes >= _BYTES_MAX

    def outcomes(
        self, settled: ScoreBatchResponse | grpc.RpcError, on_no_answer: OnNoAnswer
    ) -> Iterator[Outcome]:
        """Yield what came of each, in order, from the response or the failure of the call.

        Raises
        ------
        NoAnswerError
            There was no answer, and the setting is to raise.
        AccessDeniedError, ScoringError, RefusedError
            As `Client.score`.
        """
        if isinstance(settled, ScoreBatchResponse):
            results = iter(settled.results)
            for place in self.places:
                yield place if isinstance(place, Refusal) else outcome_of(next(results), place)
            return
        why = failure(settled)
        if not isinstance(why, NoAnswerError):
            raise why from settled
        for place in self.places:
            yield place if isinstance(place, Refusal) else without_answer(on_no_answer, place, why)


def check_batch(size: int) -> None:
    """Refuse a size of batches that the service does not take.

    Raises
    ------
    ConfigError
        It is not 1 to 4,096.
    """
    if not 1 <= size <= BATCH_MAX:
        raise ConfigError(f"batch is {size}, must be 1 to {BATCH_MAX}")


def batches(transactions: Iterable[Given], size: int) -> Iterator[Batch]:
    """Yield transactions in batches of at most `size` and about 2 MiB, none of them empty."""
    batch = Batch()
    for given in transactions:
        batch.add(given)
        if batch.full(size):
            yield batch
            batch = Batch()
    if batch.places:
        yield batch


def _id_of(given: Given) -> str:
    if isinstance(given, Transaction):
        return given.transaction_id
    told = given.get("transaction_id") if isinstance(given, Mapping) else None
    return told if isinstance(told, str) else ""
