"""Fixtures of the end-to-end tests: a trained bundle, its history, and a set of topics of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from service_stack import Fresh
from stream_process import StreamUnderTest
from wire_messages import label_bytes, produce, read_topic, transaction_bytes, valid_records

from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train

PARTITIONS = 3


@pytest.fixture(scope="session")
def history() -> pl.DataFrame:
    """Return a synthetic history with repeated, late and out-of-order records, in order of arrival."""
    return generate(
        SyntheticConfig(
            customers=300,
            merchants=80,
            days=60,
            fraud_rate=0.03,
            duplicate_rate=0.02,
            late_rate=0.01,
            late_seconds_max=14_400,
            jitter_seconds=5,
            seed=3,
        )
    )


@pytest.fixture(scope="session")
def bundle(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small bundle trained on the history."""
    options = TrainOptions(
        booster=BoosterOptions(trees=20, depth=4),
        forest=ForestOptions(trees=10, rows_per_tree=64),
        test_span=timedelta(days=14),
        threads=1,
    )
    return train(history, options, tmp_path_factory.mktemp("bundle") / "model").bundle.path


@dataclass
class Topics:
    """The topics of one test, and the settings that name them."""

    brokers: str
    names: dict[str, str]
    folder: Path

    def settings(self, state: str = "state", **more: object) -> dict[str, object]:
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

    def stream(self, bundle: Path, state: str = "state", **more: object) -> StreamUnderTest:
        """Start a stream over these topics."""
        return StreamUnderTest(bundle, self.settings(state, **more), self.folder / f"{state}-process")

    def send(self, frame: pl.DataFrame, *, labels: bool = True) -> int:
        """Send a history: its labels first, then its transactions, customers spread over the partitions."""
        if labels:
            produce(self.brokers, self.names["labels"], ((0, None, value) for value in label_bytes(frame)))
        records = (
            (int(customer[1:]) % PARTITIONS, customer, value) for customer, value in transaction_bytes(frame)
        )
        return produce(self.brokers, self.names["transactions"], records)

    def decisions(self) -> list[tuple[int, object]]:
        """Return the decisions that count, in the order of the log."""
        return valid_records(read_topic(self.brokers, self.names["decisions"], "DecisionRecord"))


@pytest.fixture
def topics(fresh: Fresh, tmp_path: Path) -> Iterator[Topics]:
    """Yield new topics."""
    names = {
        "transactions": fresh.topic("transactions", PARTITIONS, message_timestamp_type="LogAppendTime"),
        **{stem: fresh.topic(stem) for stem in ("labels", "decisions", "alerts", "dead_letter")},
        "group": fresh.name("group"),
    }
    yield Topics(fresh.stack.kafka_brokers, names, tmp_path)
