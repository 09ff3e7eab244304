"""The topic `labels` from the side of who writes it: a record is sent when the broker has acknowledged it.

Idempotent and acknowledged by all replicas. Who does not wait for the acknowledgement any more has sent a
record that may still arrive: a label that comes twice counts once.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer

from fraudengine.errors import ServiceError, StoreError, StoreTimeoutError
from fraudengine.verdicts.record import source_name

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from fraudengine.config import Settings
    from fraudengine.wire.label_pb2 import Label

__all__ = ["LabelTopic", "label_json"]

_STORE = "kafka"
_WAITING_MAX = 10_000
_POLL_SECONDS = 0.1
_GIVE_UP_MS = 30_000


class LabelTopic:
    """Sends labels; connects when the first one is sent.

    Parameters
    ----------
    settings
        Effective settings: brokers, topic and format are those of `[kafka]`.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    async def send(self, label: Label, seconds: float) -> int:
        """Send a label; return its offset in the topic when the broker has it.

        Raises
        ------
        StoreTimeoutError
            It is not known to be there in that time.
        StoreError
            No broker takes it.

        """
        kafka = self._settings.kafka
        value = label.SerializeToString() if kafka.labels_format == "protobuf" else label_json(label)
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[int] = loop.create_future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            loop.call_soon_threadsafe(_settle, acknowledged, error, message.offset())

        try:
            self._connected().produce(
                kafka.labels_topic, value, label.transaction_id.encode(), partition=0, on_delivery=delivered
            )
        except (BufferError, KafkaException, ServiceError) as error:
            raise StoreError(_STORE, str(error)) from error
        try:
            return await asyncio.wait_for(acknowledged, seconds)
        except TimeoutError as error:
            raise StoreTimeoutError(_STORE, f"not acknowledged within {seconds:.3g} s") from error

    def close(self) -> None:
        """End; what is not acknowledged yet is given a second."""
        if self._producer is not None and self._thread is not None:
            self._producer.flush(1.0)
            self._ended.set()
            self._thread.join()
            self._producer = None

    def _connected(self) -> Producer:
        if self._producer is None:
            kafka = self._settings.resolved(only=["kafka"]).kafka
            wanted: dict[str, Any] = {
                "log_level": 0,
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": _GIVE_UP_MS,
                "queue.buffering.max.messages": _WAITING_MAX,
                **kafka.client,
                "bootstrap.servers": kafka.brokers,
            }
            producer = self._producer = Producer(wanted)
            self._thread = threading.Thread(target=self._poll, args=(producer,), name="labels", daemon=True)
            self._thread.start()
        return self._producer

    def _poll(self, producer: Producer) -> None:
        while not self._ended.is_set():
            producer.poll(_POLL_SECONDS)


def _settle(acknowledged: asyncio.Future[int], error: KafkaError | None, offset: int | None) -> None:
    if acknowledged.done():
        return
    if error is not None:
        acknowledged.set_exception(StoreError(_STORE, error.str()))
    else:
        acknowledged.set_result(offset or 0)


def label_json(label: Label) -> bytes:
    """Return the JSON twin of a label: the columns of `fraudengine.schema` as its keys."""
    told: dict[str, object] = {
        "transaction_id": label.transaction_id,
        "event_time_micros": label.event_time_micros,
        "customer_id": label.customer_id,
        "amount_minor": label.amount_minor,
        "is_fraud": int(label.is_fraud == 2),
        "label_known_time_micros": label.label_known_time_micros,
    }
    for name in ("card_id", "device_id", "merchant_id", "ip_address", "currency", "typology"):
        if label.HasField(name):
            told[name] = getattr(label, name)
    # For people who read the topic; the engine steps over what it does not know.
    if label.HasField("actor"):
        told["actor"] = label.actor
    if label.source:
        told["source"] = source_name(label)
    return json.dumps(told).encode()
