"""One turn of one contestant of the whole job: topics of its own, records in, scores out, processor time.

The contestant runs until it is ended; what it decides is read back from Kafka by the driver.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from calls import tree_seconds
from fraudengine.wire.log_pb2 import DecisionRecord
from programs import fresh
from turns import ONE_THREAD, PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fraudengine.config import Settings

    Command = tuple[list[Any], dict[str, str]]

WARM, SECONDS_MAX, QUEUED_MAX = 2_000, 900, 50_000


class Broker:
    """A broker of its own, and what the driver does with it."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        # Idempotent, or a batch that is sent again would come behind later ones.
        self.producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "enable.idempotence": True})

    def send(self, topic: str, records: list[tuple[str, str, bytes]]) -> None:
        """Send records, keyed by customer."""
        for at, (_, customer, record) in enumerate(records):
            if at % 1_000 == 0:
                # The queue of the client holds 100,000: a broker that is busy sets the pace.
                while len(self.producer) > QUEUED_MAX:
                    self.producer.poll(0.01)
                self.producer.poll(0)
            self.producer.produce(topic, record, customer)
        self.producer.flush(60)

    def answers(self, topic: str, process: subprocess.Popen[Any]) -> Iterator[bytes]:
        """Yield what is in a topic of one partition, and what comes, until the process has ended."""
        consumer = Consumer(
            {"bootstrap.servers": self.brokers, "group.id": "driver", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        until = time.monotonic() + SECONDS_MAX
        try:
            while process.poll() is None and time.monotonic() < until:
                for record in consumer.consume(10_000, timeout=0.1):
                    yield record.value() or b""
        finally:
            consumer.close()


def scored(value: bytes) -> tuple[str, float]:
    """Return the id and the score of a decision, ours or a peer's; ours also has records without an id."""
    if value[:1] == b"{":
        told = orjson.loads(value)
        return told["transaction_id"], told["score"]
    record = DecisionRecord.FromString(value)
    return record.transaction.transaction_id, record.score


def collect(answers: Iterator[bytes], found: dict[str, float], count: int) -> None:
    """Take scores until there are so many."""
    for key, score in map(scored, answers):
        if key:
            found[key] = score
        if len(found) == count:
            return
    raise PeerError(f"{len(found)} of {count} decisions")


@contextmanager
def running(command: list[Any], more: dict[str, str], log: Path) -> Iterator[subprocess.Popen[Any]]:
    """Run a contestant; end it and its children afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=out,
            stderr=out,
            env={**os.environ, **ONE_THREAD, **more},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def turn(
    broker: Broker,
    events: list[tuple[str, str, bytes]],
    log: Path,
    scratch: Path,
    command: Callable[[Settings], Command],
) -> tuple[dict[str, float], dict[str, float]]:
    """Let one contestant do the job once; return its figures and the score of each id."""
    # One partition, so that the order of time is the order of the records for everybody.
    flags = {"kafka.transactions_format": "json", "kafka.partitions": 1, "engine.threads": 1}
    settings = fresh(scratch.name, broker.brokers, scratch, flags)
    topic = settings.kafka.transactions_topic
    found: dict[str, float] = {}
    try:
        with running(*command(settings), log) as process:
            answers = broker.answers(settings.kafka.decisions_topic, process)
            broker.send(topic, events[:WARM])
            collect(answers, found, WARM)
            wall, cpu = time.perf_counter(), tree_seconds(process.pid)
            broker.send(topic, events[WARM:])
            collect(answers, found, len(events))
            wall, cpu = time.perf_counter() - wall, tree_seconds(process.pid) - cpu
    except PeerError as error:
        raise PeerError(f"{scratch.name}: {error}, see {log}") from error
    return {"units": len(events) - WARM, "wall": wall, "cpu": cpu}, found
