"""What a user would write instead: a plain Python loop over the same records."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import orjson
import xgboost
from confluent_kafka import Consumer, Producer, TopicPartition

if TYPE_CHECKING:
    from fraudengine.settings import KafkaSettings

FEATURES, BATCH = 4, 10_000


def python_loop(kafka: KafkaSettings, count: int, *, publishes: bool) -> float:
    """Return transactions a second: consume, parse, four features by customer, batched XGBoost.

    Where it `publishes`, it also sends a decision for each, as the stream does; else nothing.
    """
    booster = _booster()
    consumer, producer = _consumer(kafka), Producer({"bootstrap.servers": kafka.brokers, "linger.ms": 5})
    windows: dict[str, deque[tuple[int, int]]] = {}
    matrix = np.empty((BATCH, FEATURES), dtype=np.float32)
    seen, begin = 0, None
    while seen < count:
        records = consumer.consume(BATCH, timeout=5.0)
        begin = begin or time.perf_counter()
        ids = []
        for row, record in enumerate(records):
            transaction = orjson.loads(record.value())
            now, amount = transaction["event_time"], transaction["amount_minor"]
            window = windows.setdefault(transaction["customer_id"], deque())
            window.append((now, amount))
            while window[0][0] <= now - 86_400_000_000:
                window.popleft()
            total = sum(each for _, each in window)
            matrix[row] = (amount, len(window), total, amount * len(window) / max(total, 1))
            ids.append(transaction["transaction_id"])
        scores = booster.inplace_predict(matrix[: len(records)])
        if publishes:
            for transaction_id, score in zip(ids, scores.tolist(), strict=True):
                decision = orjson.dumps({"transaction_id": transaction_id, "score": score})
                producer.produce(kafka.decisions_topic, decision)
            producer.poll(0)
        seen += len(records)
    assert producer.flush(60) == 0
    consumer.close()
    return seen / (time.perf_counter() - (begin or 0.0))


def _booster() -> xgboost.Booster:
    """Return a booster of the size of the bundle (200 trees of depth 6), trained on noise."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(20_000, FEATURES))
    labels = rows[:, 0] * rows[:, 1] + generator.normal(size=20_000) > 1
    return xgboost.train(
        {"max_depth": 6, "tree_method": "hist", "nthread": 1, "objective": "binary:logistic"},
        xgboost.DMatrix(rows, labels),
        200,
    )


def _consumer(kafka: KafkaSettings) -> Consumer:
    """Return a consumer of the transactions from the first on."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.brokers,
            "group.id": f"peer-{uuid4().hex}",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
        }
    )
    topic = kafka.transactions_topic
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    return consumer
