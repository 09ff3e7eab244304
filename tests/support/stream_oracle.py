"""What a log must hold: each record once, decided as a replay in the log's order decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from stream_topics import Topics
from wire_messages import by_source

from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.engine import Decisions

__all__ = ["assert_alerts_right", "assert_log_right", "assert_same", "replayed"]


def replayed(bundle: Path, decided: list[tuple[int, Any]], history: pl.DataFrame) -> Decisions:
    """Decide the transactions of a log again, in its order, with the labels of the history."""
    rows = [record.transaction for _, record in decided]
    by_id = history.unique("transaction_id", maintain_order=True)
    order = pl.DataFrame({"transaction_id": [row.transaction_id for row in rows]})
    frame = order.join(by_id, on="transaction_id", how="left", maintain_order="left")
    return Bundle.load(bundle).engine().process(frame, features.labels_of(history))


def assert_same(decided: list[tuple[int, Any]], expected: Decisions) -> None:
    """Compare score, anomaly, action and flags of every decision."""
    records = [record for _, record in decided]
    wrong = np.zeros(len(records), dtype=bool)
    for name, values in (("score", expected.score), ("anomaly", expected.anomaly)):
        found = np.array([getattr(record, name) for record in records], dtype=np.float32)
        wrong |= found.view(np.uint32) != values.view(np.uint32)
    wrong |= np.array([record.action - 1 for record in records]) != expected.action
    wrong |= np.array([record.flags & 7 for record in records]) != expected.flags
    told = [
        f"at {at}, offset {decided[at][0]}: {records[at].transaction.transaction_id} from "
        f"{records[at].source_partition}:{records[at].source_offset}, generation {records[at].generation}, "
        f"flags {records[at].flags} not {expected.flags[at]}, score {records[at].score} not "
        f"{expected.score[at]}"
        for at in np.flatnonzero(wrong)[:5]
    ]
    assert not told, "\n".join([f"{wrong.sum()} of {len(records)} decisions differ", *told])


def assert_log_right(decided: list[tuple[int, Any]], sent: int, bundle: Path, history: pl.DataFrame) -> None:
    """Assert that a log holds every record that was sent once, decided as the replay decides it."""
    assert len(by_source(decided)) == sent, "every record once"
    assert_same(decided, replayed(bundle, decided, history))


def assert_alerts_right(topics: Topics, decided: list[tuple[int, Any]]) -> None:
    """Assert that each decision that is not an approval or a repetition has one alert, and no other."""
    flagged = {
        (record.source_partition, record.source_offset)
        for _, record in decided
        if record.action != 1 and not record.flags & 1
    }
    assert set(by_source(topics.alerts())) == flagged, "every alert once"
