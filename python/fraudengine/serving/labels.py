"""`LabelService`: a verdict becomes a label with all that the engine needs, and goes where verdicts go.

Label, alert and audit are one thing (`fraudengine.verdicts`), with one exception: who sends the transaction
along needs no PostgreSQL, so the label is taken without it, and the answer says so.
"""

from __future__ import annotations

import time as clock
from typing import TYPE_CHECKING

import grpc

from fraudengine.errors import StoreError
from fraudengine.schema import AMOUNT_MINOR_MAX
from fraudengine.serving import answers, requests
from fraudengine.serving.refusals import CallError, InvalidError
from fraudengine.verdicts.deciding import Verdicts
from fraudengine.verdicts.record import VERDICTS
from fraudengine.wire.label_pb2 import Label, LabelSource
from fraudengine.wire.labeling_pb2 import SubmitLabelRequest, SubmitLabelResponse

if TYPE_CHECKING:
    from fraudengine.serving.methods import Methods, Time
    from fraudengine.stores.reader import Stores
    from fraudengine.verdicts.topic import LabelTopic
    from fraudengine.wire.transaction_pb2 import Transaction

__all__ = ["SERVICE", "LabelService"]

SERVICE = "fraudengine.v1.LabelService"

_SAME_TEXTS = ("card_id", "device_id", "merchant_id", "ip_address", "currency")
_STORE_SHARE = 0.5


class LabelService:
    """The handlers of the service.

    Parameters
    ----------
    stores
        Where a transaction is looked up.
    topic
        Where labels go without PostgreSQL.
    methods
        Makes handlers.

    """

    def __init__(self, stores: Stores, topic: LabelTopic, methods: Methods) -> None:
        self._stores = stores
        self._topic = topic
        self._verdicts = Verdicts(stores, topic)
        self._methods = methods

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods by name."""
        methods = {"SubmitLabel": self._methods.unary("SubmitLabel", SubmitLabelRequest, self.submit_label)}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def submit_label(self, asked: SubmitLabelRequest, time: Time) -> SubmitLabelResponse:
        """Answer one `SubmitLabelRequest`."""
        until = clock.monotonic() + time.seconds
        label = _checked(asked)
        if asked.HasField("transaction"):
            transaction = asked.transaction
            _check_transaction(label.transaction_id, transaction)
        else:
            transaction = await self._found(asked, label.transaction_id, time.seconds)
        _fill(label, transaction)
        _check_known_time(label, given=asked.HasField("known_time_micros"))
        offset, recorded = await self._taken(label, until, needs_store=not asked.HasField("transaction"))
        self._methods.metrics.labels.labels(VERDICTS[label.is_fraud]).inc()
        return SubmitLabelResponse(label=label, label_offset=offset, recorded=recorded)

    async def _taken(self, label: Label, until: float, *, needs_store: bool) -> tuple[int, bool]:
        """Return the offset of the label, and whether alert and audit have it."""

        def left() -> float:
            return max(0.0, until - clock.monotonic())

        if self._stores.postgres is not None:
            try:
                seconds = left() if needs_store else left() * _STORE_SHARE
                return await self._verdicts.submit(label, seconds=seconds), True
            except StoreError as error:
                if needs_store or error.store != "postgres":
                    raise
        return await self._topic.send(label, left()), False

    async def _found(self, asked: SubmitLabelRequest, name: str, seconds: float) -> Transaction:
        at = requests.optional_time(asked, "event_time_micros")
        history = self._stores.history
        if history is None:
            message = "transaction is required: postgres.enabled is false, so that it cannot be looked up"
            raise InvalidError("transaction", "MISSING", message)
        found = await history.find(name, at, seconds=seconds)
        if found is None:
            message = f"no transaction {name} is in PostgreSQL (yet); send it in the field transaction"
            raise CallError(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", message)
        return answers.transaction(found)


def _checked(asked: SubmitLabelRequest) -> Label:
    """Return what the request says by itself."""
    name = requests.text(asked.transaction_id, "transaction_id")
    if asked.verdict not in VERDICTS:
        told = "is required and missing" if asked.verdict == 0 else f"is {asked.verdict}, which is no verdict"
        raise InvalidError("verdict", "UNKNOWN" if asked.verdict else "MISSING", f"verdict {told}")
    if asked.source not in LabelSource.values():
        raise InvalidError("source", "UNKNOWN", f"source is {asked.source}, which is no source")
    return Label(
        transaction_id=name,
        is_fraud=asked.verdict,
        source=asked.source,
        actor=requests.optional_text(asked, "actor"),
        typology=requests.optional_text(asked, "typology"),
        label_known_time_micros=requests.optional_time(asked, "known_time_micros") or requests.now_micros(),
    )


def _check_transaction(name: str, transaction: Transaction) -> None:
    """Check what a label takes over of a transaction that the caller sends."""
    if transaction.transaction_id not in ("", name):
        message = "transaction.transaction_id is not transaction_id"
        raise InvalidError("transaction.transaction_id", "OTHER", message)
    requests.event_time(transaction.event_time_micros, "transaction.event_time_micros")
    requests.text(transaction.customer_id, "transaction.customer_id")
    for field in _SAME_TEXTS:
        requests.optional_text(transaction, field, f"transaction.{field}")
    if not transaction.HasField("amount_minor"):
        message = "transaction.amount_minor is required and missing"
        raise InvalidError("transaction.amount_minor", "MISSING", message)
    if not 0 <= transaction.amount_minor <= AMOUNT_MINOR_MAX:
        message = f"transaction.amount_minor is {transaction.amount_minor}, must be 0 to {AMOUNT_MINOR_MAX}"
        raise InvalidError("transaction.amount_minor", "OUT_OF_RANGE", message)


def _fill(label: Label, transaction: Transaction) -> None:
    label.event_time_micros = transaction.event_time_micros
    label.customer_id = transaction.customer_id
    label.amount_minor = transaction.amount_minor
    for field in _SAME_TEXTS:
        if transaction.HasField(field):
            setattr(label, field, getattr(transaction, field))


def _check_known_time(label: Label, *, given: bool) -> None:
    """Hold the time against the event; a verdict on an event ahead of our clock is known at the event."""
    known, event, now = label.label_known_time_micros, label.event_time_micros, requests.now_micros()
    if not given:
        label.label_known_time_micros = max(known, event)
    elif not event <= known <= max(now, event):
        message = f"known_time_micros is {known}, must be from the event time {event} to {now}"
        raise InvalidError("known_time_micros", "OUT_OF_RANGE", message)
