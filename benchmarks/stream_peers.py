"""What a user would write instead: a plain Python loop over the same records."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import orjson
import xgboost
from confluent_kafka import Consumer, TopicPartition

if TYPE_CHECKING:
    from fraudengine.settings import KafkaSettings

FEATURES = 4


def python_loop(kafka: KafkaSettings, count: int) -> float:
    """Return transactions a second: consume, parse, four features by customer, batched XGBoost; nothing sent.

    The booster has the size of the bundle (200 trees of depth 6) and is trained on noise over four features:
    what it says does not matter here, what it costs does.
    """
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(20_000, FEATURES))
    labels = rows[:, 0] * rows[:, 1] + generator.normal(size=20_000) > 1
    booster = xgboost.train(
        {"max_depth": 6, "tree_method": "hist", "nthread": 1, "objective": "binary:logistic"},
        xgboost.DMatrix(rows, labels),
        200,
    )
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
    windows: dict[str, deque[tuple[int, int]]] = {}
    matrix = np.empty((10_000, FEATURES), dtype=np.float32)
    seen, begin = 0, None
    while seen < count:
        records = consumer.consume(10_000, timeout=5.0)
        begin = begin or time.perf_counter()
        for row, record in enumerate(records):
            transaction = orjson.loads(record.value())
            now, amount = transaction["event_time"], transaction["amount_minor"]
            window = windows.setdefault(transaction["customer_id"], deque())
            window.append((now, amount))
            while window[0][0] <= now - 86_400_000_000:
                window.popleft()
            total = sum(each for _, each in window)
            matrix[row] = (amount, len(window), total, amount * len(window) / max(total, 1))
        booster.inplace_predict(matrix[: len(records)])
        seen += len(records)
    consumer.close()
    return seen / (time.perf_counter() - (begin or 0.0))
