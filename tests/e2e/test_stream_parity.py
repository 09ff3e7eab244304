"""What the stream decides is what a replay of the same records decides, bit for bit."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from stream_oracle import assert_log_right
from stream_topics import Topics

from fraudengine.bundle import Bundle
from fraudengine.engine import Action


def test_the_stream_decides_what_a_replay_decides(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    sent = topics.send(history)
    with topics.stream(bundle) as stream:
        stream.await_decisions(sent)
        assert stream.stop() == 0
    decided = topics.decisions()
    assert sent == history.height
    assert_log_right(decided, sent, bundle, history)

    flagged = [record for _, record in decided if record.action != 1 and not record.flags & 1]
    assert [record.source_offset for _, record in topics.alerts()] == [
        record.source_offset for record in flagged
    ]
    assert all(record.reasons for record in flagged)
    short = int(Bundle.load(bundle).hash[:16], 16)
    assert {record.model for _, record in decided} == {short}
    assert sum(record.action == Action.BLOCK + 1 for record in flagged) > 0
