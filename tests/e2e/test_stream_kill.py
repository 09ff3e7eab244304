"""SIGKILL at random moments: nothing is lost, nothing is counted twice, and the state is as if never killed.

`benchmarks/kill.py` runs the long campaign; this is the smoke test of the same check.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
from kill_campaign import Campaign, run
from stream_topics import Topics


def test_kills_lose_nothing_and_double_nothing(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    campaign = Campaign(kills=5, rate=400, seconds_max=60, draws=random.Random(11))
    result = run(campaign, topics, bundle, history)
    assert result["kills"] >= 2
    assert result["recovered_records"] > 0, "restarts took something in again"
    assert result["repeated_ids"] > 0
    assert result["late"] > 0
    assert topics.dead_letters() == [], "a kill accuses nobody"
    assert not (topics.folder / "state" / "suspicion.json").exists()
