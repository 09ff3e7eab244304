"""What the stream decides is what a replay of the same records decides, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from wire_messages import by_source, read_topic, valid_records

from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.engine import Action, Decisions

from .conftest import Topics


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
    for name, values in (("score", expected.score), ("anomaly", expected.anomaly)):
        found = np.array([getattr(record, name) for record in records], dtype=np.float32)
        np.testing.assert_array_equal(found.view(np.uint32), values.view(np.uint32), err_msg=name)
    np.testing.assert_array_equal([record.action - 1 for record in records], expected.action)
    np.testing.assert_array_equal([record.flags & 7 for record in records], expected.flags)


def test_the_stream_decides_what_a_replay_decides(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    sent = topics.send(history)
    with topics.stream(bundle) as stream:
        stream.await_decisions(sent)
        assert stream.stop() == 0
    decided = topics.decisions()
    assert len(by_source(decided)) == sent == history.height
    assert_same(decided, replayed(bundle, decided, history))

    flagged = [record for _, record in decided if record.action != 1 and not record.flags & 1]
    alerts = valid_records(read_topic(topics.brokers, topics.names["alerts"], "DecisionRecord"))
    assert [record.source_offset for _, record in alerts] == [record.source_offset for record in flagged]
    assert all(record.reasons for record in flagged)
    short = int(Bundle.load(bundle).hash[:16], 16)
    assert {record.model for _, record in decided} == {short}
    assert sum(record.action == Action.BLOCK + 1 for record in flagged) > 0
