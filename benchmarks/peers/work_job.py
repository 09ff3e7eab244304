"""One peer of the whole job: transactions from Kafka, windows of the customer, a booster, scores to Kafka.

    INTERPRETER work_job.py NAME FOLDER BROKERS TOPIC

Records are JSON. Every peer computes the nine features of `windows_python.py` in the state that its library
offers, scores with the same booster, and sends one record for each transaction: its id and its score.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import calls
from windows_python import CustomerWindows

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 10_000


class Job:
    """Where to read, what to score with, where to send."""

    def __init__(self, folder: str, brokers: str, topic: str) -> None:
        import xgboost

        self.folder, self.brokers, self.topic = Path(folder), brokers, topic
        self.booster = xgboost.Booster(model_file=self.folder / "booster.ubj")
        self.booster.set_param({"nthread": 1})

    def score(self, rows: list[Any]) -> Any:  # noqa: ANN401 - an array
        """Return scores of feature rows."""
        return self.booster.inplace_predict(np.asarray(rows, np.float32))


def loop(job: Job, out: str, count: int) -> int:
    """Run a plain loop: confluent-kafka in batches, orjson, deques."""
    import orjson
    from confluent_kafka import Consumer, Producer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": job.brokers,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            # The default waits for a second whenever its queue was full.
            "fetch.queue.backoff.ms": 2,
        }
    )
    producer = Producer({"bootstrap.servers": job.brokers, "linger.ms": 5})
    partitions = consumer.list_topics(job.topic, timeout=10).topics[job.topic].partitions
    consumer.assign([TopicPartition(job.topic, partition, 0) for partition in partitions])
    customers: dict[str, CustomerWindows] = {}
    seen = 0
    while seen < count:
        ids, rows = [], []
        for record in consumer.consume(BATCH, timeout=1.0):
            event = orjson.loads(record.value())
            windows = customers.setdefault(event["customer_id"], CustomerWindows())
            ids.append(event["transaction_id"])
            rows.append(windows.update(event["event_time"], event["amount_minor"], event["merchant_id"]))
        if not rows:
            continue
        for name, score in zip(ids, job.score(rows).tolist(), strict=True):
            while True:
                try:
                    producer.produce(out, orjson.dumps({"transaction_id": name, "score": score}))
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.poll(0)
        seen += len(rows)
    producer.flush()
    consumer.close()
    return seen


def bytewax(job: Job, out: str, count: int) -> int:
    """Run a dataflow: Kafka source, `stateful_map` by customer, booster over each batch, Kafka sink."""
    import bytewax.operators as op
    import orjson
    from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
    from bytewax.dataflow import Dataflow
    from bytewax.testing import run_main

    def keyed(message: Any) -> tuple[str, Any]:  # noqa: ANN401
        event = orjson.loads(message.value)
        fields = ("transaction_id", "event_time", "amount_minor", "merchant_id")
        return event["customer_id"], tuple(event[field] for field in fields)

    def step(state: CustomerWindows | None, event: tuple[Any, ...]) -> tuple[Any, Any]:
        state = state or CustomerWindows()
        return state, (event[0], state.update(*event[1:]))

    def scored(batch: list[Any]) -> list[Any]:
        ids, rows = zip(*(value for _, value in batch), strict=True)
        scores = job.score(rows).tolist()
        told = [{"transaction_id": name, "score": score} for name, score in zip(ids, scores, strict=True)]
        return [KafkaSinkMessage(None, orjson.dumps(each)) for each in told]

    flow = Dataflow("job")
    source = KafkaSource([job.brokers], [job.topic], tail=False, batch_size=BATCH)
    stream = op.stateful_map("windows", op.map("parse", op.input("in", flow, source), keyed), step)
    op.output("out", op.flat_map_batch("score", stream, scored), KafkaSink([job.brokers], out))
    run_main(flow)
    return count


def quixstreams(job: Job, out: str, count: int) -> int:
    """Run an application: state by key in its own store, a score for each message, as it documents."""
    from quixstreams import Application

    def features(event: dict[str, Any], state: Any) -> dict[str, Any]:  # noqa: ANN401
        windows = CustomerWindows()
        kept = [each for each in state.get("events", []) if each[0] > event["event_time"] - windows.week.span]
        for each in kept:
            for window in (windows.hour, windows.day, windows.week):
                window.add(*each)
        now = (event["event_time"], event["amount_minor"], event["merchant_id"])
        row = windows.update(*now)
        state.set("events", [*kept, now])
        return {"transaction_id": event["transaction_id"], "score": float(job.score([row])[0])}

    name = uuid.uuid4().hex
    application = Application(
        broker_address=job.brokers,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=job.folder / f"quix-{name}",
        loglevel="ERROR",
    )
    source = application.topic(job.topic, value_deserializer="json", key_deserializer="str")
    stream = application.dataframe(source)
    stream = stream.apply(features, stateful=True)
    stream.to_topic(application.topic(out, value_serializer="json"))
    application.run(count=count, timeout=20, collect=False)
    return count


CONTESTANTS: dict[str, Callable[[Job, str, int], int]] = {
    "loop": loop,
    "bytewax": bytewax,
    "quixstreams": quixstreams,
}


def serve(work: Callable[[Job, str, int], int], job: Job) -> None:
    """Answer calls: one run writes to a topic of its own."""

    def run(out: str, count: int) -> dict[str, float]:
        return calls.timed(lambda: work(job, out, count))

    calls.serve({"run": run})


if __name__ == "__main__":
    serve(CONTESTANTS[sys.argv[1]], Job(*sys.argv[2:]))
