"""The messages of `proto/fraudengine/v1` as Python classes, and topics read and written with them.

They are those of `fraudengine.wire`, which a test holds equal to the definition: the native encoders and
decoders meet an independent reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from uuid import uuid4

import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition

from fraudengine.schema import CHANNELS, COLUMNS
from fraudengine.wire import label_pb2, log_pb2, transaction_pb2

__all__ = [
    "by_source",
    "label_bytes",
    "message",
    "produce",
    "read_all",
    "read_topic",
    "transaction_bytes",
    "transaction_json",
    "valid_records",
]

_MODULES = (transaction_pb2, label_pb2, log_pb2)


@cache
def message(name: str) -> Any:
    """Return the class of a message, for example `DecisionRecord`."""
    return next(getattr(module, name) for module in _MODULES if hasattr(module, name))


_TRANSACTION = [column for column in COLUMNS if not column.label]


def _rows(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(pl.Int64)).iter_rows(named=True)


def transaction_bytes(frame: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Yield the customer and the message of each row of a canonical history."""
    make = message("Transaction")
    present = [column for column in _TRANSACTION if column.name in frame.columns]
    for row in _rows(frame):
        told = {column.proto_name: row[column.name] for column in present if row[column.name] is not None}
        if "channel" in told:
            told["channel"] = CHANNELS.index(told["channel"]) + 1
        yield row["customer_id"], make(**told).SerializeToString()


def transaction_json(frame: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Yield the customer and the JSON twin of each row of a canonical history."""
    present = [column for column in _TRANSACTION if column.name in frame.columns]
    for row in _rows(frame):
        told = {column.name: row[column.name] for column in present if row[column.name] is not None}
        yield row["customer_id"], json.dumps(told).encode()


def label_bytes(frame: pl.DataFrame) -> Iterator[bytes]:
    """Yield the label of each row that has one, in the order in which they become known."""
    make = message("Label")
    known = frame.drop_nulls(["is_fraud", "label_known_time"]).sort("label_known_time", maintain_order=True)
    same = [
        column
        for column in _TRANSACTION
        if column.name in known.columns and column.proto_name in make.DESCRIPTOR.fields_by_name
    ]
    for row in _rows(known):
        told = {column.proto_name: row[column.name] for column in same if row[column.name] is not None}
        told["is_fraud"] = 2 if row["is_fraud"] == 1 else 1
        if row.get("typology") is not None:
            told["typology"] = row["typology"]
        yield make(label_known_time_micros=row["label_known_time"], **told).SerializeToString()


def produce(
    brokers: str,
    topic: str,
    records: Iterable[tuple[int, str | None, bytes]],
    client: Mapping[str, str] | None = None,
) -> int:
    """Send (partition, key, value) in their order and wait until the broker has them all; return how many."""
    producer = Producer(
        {
            **(client or {}),
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": 1_048_588,
        }
    )
    failed: list[Any] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    for partition, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition=partition, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    assert not failed
    return count


def read_topic(brokers: str, topic: str, kind: str) -> list[tuple[int, Any]]:
    """Return every record of a single-partition topic that is there now: offset and message."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"read-{uuid4().hex}", "enable.auto.commit": False}
    )
    make = message(kind)
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        consumer.assign([TopicPartition(topic, 0, low)])
        found: list[tuple[int, Any]] = []
        next_offset = low
        while next_offset < high:
            # Not long: the client waits for as many as it may return, and here are seldom so many.
            for record in consumer.consume(1000, timeout=0.1):
                assert record.error() is None, record.error()
                offset = record.offset()
                assert offset is not None
                if offset < high:
                    found.append((offset, make.FromString(record.value())))
                next_offset = offset + 1
        return found
    finally:
        consumer.close()


def read_all(brokers: str, topic: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield partition, offset and value of every record of a topic that is there now."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"read-{uuid4().hex}", "enable.auto.commit": False}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        left = {number for number, end in ends.items() if end > 0}
        while left:
            # Not long: the client waits for as many as it may return, and here are seldom so many.
            for record in consumer.consume(1000, timeout=0.1):
                assert record.error() is None, record.error()
                partition, offset = record.partition(), record.offset()
                assert partition is not None
                assert offset is not None
                yield partition, offset, record.value() or b""
                if offset + 1 >= ends[partition]:
                    left.discard(partition)
    finally:
        consumer.close()


def valid_records(records: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Leave out markers, and what replaced processes wrote (see `log.proto`)."""
    highest = -1
    kept = []
    for offset, record in records:
        if record.owner:
            highest = max(highest, offset)
        elif record.generation >= highest:
            kept.append((offset, record))
    return kept


def by_source(records: Iterable[tuple[int, Any]]) -> Mapping[tuple[int, int], Any]:
    """Return records by partition and offset of their source; two of one source are an error."""
    found: dict[tuple[int, int], tuple[int, Any]] = {}
    for offset, record in records:
        source = (record.source_partition, record.source_offset)
        assert source not in found, (
            f"two records of {source}: at {found[source][0]} of generation {found[source][1].generation}, "
            f"at {offset} of generation {record.generation}"
        )
        found[source] = (offset, record)
    return {source: record for source, (_, record) in found.items()}
