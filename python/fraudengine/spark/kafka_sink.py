"""Writes a micro-batch to Kafka exactly once, whatever fails and is repeated.

Spark repeats a batch, or a task of it, that did not finish. Each task writes in a Kafka transaction under a
name of its own, which also ends what an earlier attempt left open; the number of the next batch is part of
that transaction, as the position of a consumer group of the same name. So an attempt that finds its batch
already counted writes nothing. Readers must read committed records only, as librdkafka does by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from fraudengine.spark import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame

    from fraudengine.config import Settings

__all__ = ["BATCH_HEADER", "KafkaWriter", "TaskWriter"]

BATCH_HEADER: Final = "spark-batch"
"""Header of every record: the number of the micro-batch, which orders the decisions."""

_SECONDS: Final = 60.0
_DUPLICATE: Final = 1
_SOON: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
"""What a broker answers until it has read what it must know of a group."""


@dataclass(frozen=True)
class KafkaWriter:
    """The writer of a query; its method `write` is called with each micro-batch.

    Attributes
    ----------
    name
        Unique to the checkpoint: a new one begins to count its batches anew.
    client
        Settings of librdkafka, with the brokers.
    position_topic
        A topic that exists, for the positions.
    decisions, alerts, letters
        Topics that are written.

    """

    name: str
    client: dict[str, str]
    position_topic: str
    decisions: str
    alerts: str
    letters: str

    @classmethod
    def by(cls, settings: Settings, name: str) -> KafkaWriter:
        """Return the writer of these settings."""
        kafka = settings.kafka
        client = {**kafka.client, "bootstrap.servers": kafka.brokers}
        return cls(
            name,
            client,
            kafka.transactions_topic,
            kafka.decisions_topic,
            kafka.alerts_topic,
            kafka.dead_letter_topic,
        )

    def write(self, batch: DataFrame, number: int) -> None:
        """Write a micro-batch; returns when all of it is committed."""
        task = TaskWriter(self, number)
        told = batch.mapInPandas(task, "written long").groupBy().sum("written").collect()
        if not told:
            raise RuntimeError(f"batch {number} was not written")


@dataclass(frozen=True)
class TaskWriter:
    """Writes the rows of one task."""

    writer: KafkaWriter
    number: int

    def __call__(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Write all rows in one transaction, unless they were written before; yield how many."""
        from pyspark import TaskContext

        context = TaskContext.get()
        every = list(frames)
        if sum(len(frame) for frame in every) == 0:
            return
        partition = 0 if context is None else context.partitionId()
        written = self._transaction(f"fraudengine-spark-{self.writer.name}-{partition}", every)
        yield pd.DataFrame({"written": [written]})

    def _transaction(self, name: str, frames: list[pd.DataFrame]) -> int:
        producer = Producer(
            {
                **self.writer.client,
                "transactional.id": name,
                "linger.ms": 20,
                "queue.buffering.max.messages": 2_000_000,
            }
        )
        # Ends what an earlier attempt left open, and keeps that attempt from writing any more.
        producer.init_transactions(_SECONDS)
        position = TopicPartition(self.writer.position_topic, 0)
        reader = Consumer({**self.writer.client, "group.id": name, "enable.auto.commit": False})
        try:
            if _committed(reader, position) > self.number:
                return 0
            producer.begin_transaction()
            count = sum(self._produce(producer, frame) for frame in frames)
            next_batch = TopicPartition(position.topic, position.partition, self.number + 1)
            producer.send_offsets_to_transaction([next_batch], reader.consumer_group_metadata(), _SECONDS)
            producer.commit_transaction(_SECONDS)
            return count
        finally:
            reader.close()

    def _produce(self, producer: Producer, frame: pd.DataFrame) -> int:
        headers: list[Any] = [(BATCH_HEADER, str(self.number).encode())]
        for what, flags, action, key, record in zip(
            frame["what"], frame["flags"], frame["action"], frame["key"], frame["record"], strict=True
        ):
            if what == rows.LETTER:
                producer.produce(self.writer.letters, record, headers=headers)
                continue
            producer.produce(self.writer.decisions, record, key, headers=headers)
            if action != 0 and not flags & _DUPLICATE:
                producer.produce(self.writer.alerts, record, key, headers=headers)
            producer.poll(0)
        return len(frame)


def _committed(reader: Consumer, position: TopicPartition) -> int:
    """Return the committed position; waits for a broker that has just begun to look after the group."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return int(reader.committed([position], _SECONDS)[0].offset)
        except KafkaException as error:
            if error.args[0].code() not in _SOON or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
