"""A rolling upgrade from an older build of the program, and back: nothing lost, nothing doubled, all equal.

Needs an older version in an environment of its own, whose interpreter FRAUDENGINE_OLDER names:

    git clone . ../older && git -C ../older checkout COMMIT && make -C ../older build
    FRAUDENGINE_OLDER=../older/.venv/bin/python pytest tests/e2e/test_stream_upgrade.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
import pytest
from stream_oracle import assert_alerts_right, assert_log_right
from stream_process import StreamUnderTest, eventually
from stream_topics import PacedLoad, Topics

OLDER = os.environ.get("FRAUDENGINE_OLDER", "")
RATE = 500.0
TAKEOVER_SECONDS = 60.0


@pytest.mark.skipif(not OLDER, reason="FRAUDENGINE_OLDER names no interpreter of an older version")
@pytest.mark.parametrize("way", ["upgrade", "way back"])
def test_a_process_of_another_version_takes_over(
    way: str, topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    older = str(Path(OLDER).absolute())
    before, after = (older, sys.executable) if way == "upgrade" else (sys.executable, older)
    settings = topics.settings(state__snapshot_interval_seconds=1)
    topics.send_labels(history)
    with (
        topics.follow() as log,
        StreamUnderTest(bundle, settings, topics.folder / "before", before) as first,
        PacedLoad(topics, history, RATE) as load,
    ):
        first.await_decisions(2_000)
        # What it leaves is a snapshot of its layout, and a log behind it.
        eventually(lambda: any((topics.folder / "state").glob("*.snapshot")), 30, "a snapshot")
        with StreamUnderTest(bundle, settings, topics.folder / "after", after) as second:
            decided = first.status()["delivered"]
            assert first.stop() == 0
            second.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover")
            second.await_decisions(1_000)
            sent = load.stop()
            log.await_count(sent, 60)
            assert second.stop() == 0
            log.read()
    assert decided >= 2_000
    assert log.markers == 2
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)
