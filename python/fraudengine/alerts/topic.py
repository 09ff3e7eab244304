"""The topic of alerts, read in order from an offset that its user keeps.

An offset that the broker no longer has is an error with both ends of the log, never a silent jump; a client
that has stopped although there is more to read is made anew. The consumer group's committed offset is neither
read nor written: the outbox knows the place.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Message

    from fraudengine.settings import KafkaSettings

__all__ = ["AlertTopic", "OutOfRangeError", "ends"]

_STALL_SECONDS = 10.0
_STALL_SECONDS_MAX = 300.0
_ASK_SECONDS = 5.0


class OutOfRangeError(Exception):
    """The log begins later than the offset asked for, or ends earlier."""

    def __init__(self, next_offset: int, low: int, high: int) -> None:
        super().__init__(f"offset {next_offset} is outside the log, {low} to {high}")
        self.next_offset = next_offset
        self.low = low
        self.high = high


def _consumer(kafka: KafkaSettings) -> Consumer:
    return Consumer(
        {
            # Its own log would repeat every failure of a connection.
            "log_level": 0,
            "queued.max.messages.kbytes": 4_096,
            "fetch.queue.backoff.ms": 5,
            **kafka.client,
            "bootstrap.servers": kafka.brokers,
            "group.id": f"{kafka.group}-alerts",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
        }
    )


def ends(kafka: KafkaSettings) -> tuple[int, int]:
    """Return the first offset of the topic and the one behind its last record.

    Raises
    ------
    KafkaException
        No broker answers.

    """
    consumer = _consumer(kafka)
    try:
        return consumer.get_watermark_offsets(TopicPartition(kafka.alerts_topic, 0), timeout=_ASK_SECONDS)
    finally:
        consumer.close()


class AlertTopic:
    """A reader whose first record is the first one at or behind an offset. Used by one thread.

    Parameters
    ----------
    kafka
        The section `[kafka]`, its brokers filled in.
    next_offset
        That offset.

    Raises
    ------
    KafkaException
        No broker answers.
    OutOfRangeError
        The log begins later or ends earlier.

    """

    def __init__(self, kafka: KafkaSettings, next_offset: int) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(kafka.alerts_topic, 0)
        self.next_offset = next_offset
        self._high = next_offset
        self._moved = time.monotonic()
        self._patience_seconds = _STALL_SECONDS
        self._consumer = self._connected()

    @property
    def lag(self) -> int:
        """Records that are known to follow."""
        return max(0, self._high - self.next_offset)

    def poll(self, records_max: int, seconds: float) -> list[Message]:
        """Wait for records and return them in order.

        Raises
        ------
        KafkaException
            The client has given up.
        OutOfRangeError
            As when it was made.

        """
        found = []
        for record in self._consumer.consume(records_max, seconds):
            error, offset = record.error(), record.offset()
            if error is None and offset is not None:
                found.append(record)
                self.next_offset = offset + 1
            elif error is not None and (error.fatal() or not error.retriable()):
                # Among them the reset that is forbidden: what is the matter is found out by connecting anew.
                raise KafkaException(error)
        if found:
            self._moved = time.monotonic()
            self._patience_seconds = _STALL_SECONDS
            _, heard = self._consumer.get_watermark_offsets(self._partition, cached=True)
            self._high = max(self.next_offset, heard)
        elif time.monotonic() - self._moved > self._patience_seconds:
            self._look_after()
        return found

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def _look_after(self) -> None:
        """Ask whether there is something to come, because nothing has for a while."""
        self._moved = time.monotonic()
        _, self._high = self._consumer.get_watermark_offsets(self._partition, timeout=_ASK_SECONDS)
        if self._high > self.next_offset:
            self._consumer.close()
            self._consumer = self._connected()
            # The rest of the log may hold no records at all (only marks of transactions): do not spin on it.
            self._patience_seconds = min(2 * self._patience_seconds, _STALL_SECONDS_MAX)

    def _connected(self) -> Consumer:
        # Asked before anything is read, by a client of its own: one that is closed while it hears that its
        # offset is gone may wait for itself.
        low, self._high = ends(self._kafka)
        if not low <= self.next_offset <= self._high:
            raise OutOfRangeError(self.next_offset, low, self._high)
        consumer = _consumer(self._kafka)
        consumer.assign([TopicPartition(self._partition.topic, 0, self.next_offset)])
        return consumer
