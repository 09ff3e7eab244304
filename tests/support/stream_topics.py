"""The topics of one test of the stream: its settings, what is sent into them, and what the log says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition
from service_stack import Fresh
from stream_process import StreamUnderTest, eventually
from wire_messages import (
    label_bytes,
    message,
    produce,
    read_topic,
    transaction_bytes,
    transaction_json,
    valid_records,
)

__all__ = ["PARTITIONS", "Follower", "PacedLoad", "Topics", "new_topics"]

PARTITIONS = 3
_READ_MAX = 5_000


@dataclass
class Topics:
    """The topics of one test, and the settings that name them."""

    brokers: str
    names: dict[str, str]
    folder: Path

    def settings(self, state: str = "state", /, **more: object) -> dict[str, object]:
        """Return settings of a stream over these topics; `more` is written with two underscores for a dot."""
        return {
            "kafka.brokers": self.brokers,
            **{f"kafka.{topic}_topic": name for topic, name in self.names.items() if topic != "group"},
            "kafka.group": self.names["group"],
            "state.folder": self.folder / state,
            "postgres.enabled": False,
            "redis.enabled": False,
            **{name.replace("__", "."): value for name, value in more.items()},
        }

    def stream(self, bundle: Path, state: str = "state", /, **more: object) -> StreamUnderTest:
        """Start a stream over these topics."""
        return StreamUnderTest(bundle, self.settings(state, **more), self.folder / f"{state}-process")

    def await_saved(self, decided: int, state: str = "state") -> Path:
        """Wait until a snapshot holds so many decisions; return its file."""
        name = f"state-{decided:020}-*.snapshot"
        eventually(lambda: any((self.folder / state).glob(name)), 30, f"a snapshot {name}")
        return next((self.folder / state).glob(name))

    def send_labels(self, frame: pl.DataFrame) -> int:
        """Send the labels of a history."""
        return produce(self.brokers, self.names["labels"], ((0, None, value) for value in label_bytes(frame)))

    def send(self, frame: pl.DataFrame, *, labels: bool = True) -> int:
        """Send a history: its labels first, then its transactions, customers spread over the partitions."""
        if labels:
            self.send_labels(frame)
        return produce(self.brokers, self.names["transactions"], records_of(frame))

    def send_json(self, frame: pl.DataFrame) -> int:
        """Send the transactions of a history as JSON."""
        records = ((int(key[1:]) % PARTITIONS, key, value) for key, value in transaction_json(frame))
        return produce(self.brokers, self.names["transactions"], records)

    def send_broken(self, count: int) -> int:
        """Send records that are no transactions."""
        return self.send_raw(b"\xff" + bytes([number % 251]) for number in range(count))

    def send_raw(self, values: Iterable[bytes]) -> int:
        """Send these bytes as if they were transactions, in turn to each partition."""
        records = ((number % PARTITIONS, None, value) for number, value in enumerate(values))
        return produce(self.brokers, self.names["transactions"], records)

    def decisions(self) -> list[tuple[int, Any]]:
        """Return the decisions that count, in the order of the log."""
        return valid_records(read_topic(self.brokers, self.names["decisions"], "DecisionRecord"))

    def alerts(self) -> list[tuple[int, Any]]:
        """Return the alerts that count."""
        return valid_records(read_topic(self.brokers, self.names["alerts"], "DecisionRecord"))

    def dead_letters(self) -> list[tuple[int, Any]]:
        """Return the dead letters that count."""
        return valid_records(read_topic(self.brokers, self.names["dead_letter"], "DeadLetter"))

    def mark(self, topic: str) -> None:
        """Write a marker as another process does that believes it has the seat."""
        kind = "DeadLetter" if topic == "dead_letter" else "DecisionRecord"
        value = message(kind)(owner=uuid4().int & 0xFFFF_FFFF_FFFF_FFFF).SerializeToString()
        produce(self.brokers, self.names[topic], [(0, None, value)])

    @contextmanager
    def follow(self, topic: str = "decisions") -> Iterator[Follower]:
        """Yield a reader of what counts in a topic, to be asked again and again."""
        follower = Follower(
            self.brokers, self.names[topic], "DeadLetter" if topic == "dead_letter" else "DecisionRecord"
        )
        try:
            yield follower
        finally:
            follower.close()


def new_topics(fresh: Fresh, folder: Path) -> Topics:
    """Return topics that nobody else uses."""
    names = {
        "transactions": fresh.topic("transactions", PARTITIONS, message_timestamp_type="LogAppendTime"),
        **{stem: fresh.topic(stem) for stem in ("labels", "decisions", "alerts", "dead_letter")},
        "group": fresh.name("group"),
    }
    return Topics(fresh.stack.kafka_brokers, names, folder)


def records_of(frame: pl.DataFrame) -> Iterator[tuple[int, str, bytes]]:
    """Yield partition, key and value of each transaction of a history."""
    for customer, value in transaction_bytes(frame):
        yield int(customer[1:]) % PARTITIONS, customer, value


class Follower:
    """Reads a log of one partition once, however often it is asked, and keeps what counts."""

    def __init__(self, brokers: str, topic: str, kind: str) -> None:
        group = f"follow-{uuid4().hex}"
        self._consumer = Consumer(
            {"bootstrap.servers": brokers, "group.id": group, "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._make = message(kind)
        self._highest = -1
        self.valid: list[tuple[int, Any]] = []
        """Offset and record, in the order of the log."""
        self.ignored = 0
        """Records of processes that had been replaced."""
        self.markers = 0
        """Runs that began."""

    def read(self) -> int:
        """Take in what has come; return how many records count so far."""
        full = True
        while full:
            records = self._consumer.consume(_READ_MAX, timeout=0.05)
            # Not until there are none: under a steady load there are always some.
            full = len(records) == _READ_MAX
            for record in records:
                # An outage of the broker comes through here too; what counts is what is read afterwards.
                if record.error() is None:
                    offset, value = record.offset(), record.value()
                    assert offset is not None
                    self._take(offset, self._make.FromString(value))
        return len(self.valid)

    def _take(self, offset: int, record: Any) -> None:
        if record.owner:
            self._highest = max(self._highest, offset)
            self.markers += 1
        elif record.generation >= self._highest:
            self.valid.append((offset, record))
        else:
            self.ignored += 1

    def await_count(self, count: int, seconds: float) -> None:
        """Wait until so many records count."""
        try:
            eventually(lambda: self.read() >= count, seconds, f"{count} records in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {len(self.valid)}") from None

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()


class PacedLoad:
    """Sends transactions at a steady rate from a thread of its own; a context manager that stops it.

    Parameters
    ----------
    topics
        Where to.
    frame
        What, in this order.
    rate
        Records a second.

    """

    def __init__(self, topics: Topics, frame: pl.DataFrame, rate: float) -> None:
        self._topics = topics
        self._frame = frame
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._failed: list[Any] = []
        self.sent = 0
        """Records handed to the client so far."""

    @property
    def done(self) -> bool:
        """Whether everything is sent and acknowledged, or it was stopped."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._topics.brokers,
                "enable.idempotence": True,
                "linger.ms": 5,
                # An outage of a minute is held here and sent afterwards.
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        began = time.monotonic()
        topic = self._topics.names["transactions"]
        for partition, key, value in records_of(self._frame):
            due = began + self.sent / self._rate
            while (early := due - time.monotonic()) > 0.005 and not self._stop.wait(min(early, 0.05)):
                producer.poll(0)
            if self._stop.is_set():
                break
            producer.produce(topic, value, key, partition=partition, on_delivery=self._delivered)
            self.sent += 1
            if self.sent % 500 == 0:
                producer.poll(0)
        left = producer.flush(120)
        if left:
            self._failed.append(f"{left} records were not delivered within 120 s")

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def stop(self) -> int:
        """Send no more; return how many were sent, all of them with the broker."""
        self._stop.set()
        return self.join()

    def join(self) -> int:
        """Wait until all is sent; return how many."""
        self._thread.join(300)
        assert self.done
        assert not self._failed, self._failed[:3]
        return self.sent

    def __enter__(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End it whatever happened."""
        self._stop.set()
        self._thread.join(300)
