"""SIGKILL at random moments under load, and the oracle over what is in the log afterwards.

`tests/e2e/test_stream_kill.py` runs a few, `benchmarks/kill.py` the campaign.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from stream_oracle import assert_alerts_right, assert_log_right
from stream_process import StreamUnderTest
from stream_topics import PacedLoad, Topics

__all__ = ["Campaign", "run"]

SETTINGS: dict[str, Any] = {
    "state__snapshot_interval_seconds": 1,
    "engine__batch_max": 64,
    "output__in_flight_max": 1024,
}
RECOVERING = 0.15
"""Share of the kills that do not wait for the process to decide anything."""


@dataclass
class Campaign:
    """How many kills, under what load.

    Attributes
    ----------
    kills
        SIGKILLs.
    rate
        Transactions a second, sent while processes die.
    seconds_max
        No more kills after this time.
    draws
        Decides when.

    """

    kills: int
    rate: float
    seconds_max: float
    draws: random.Random


def run(campaign: Campaign, topics: Topics, bundle: Path, history: pl.DataFrame) -> dict[str, Any]:
    """Kill, restart, and check; return the figures.

    Raises
    ------
    AssertionError
        Something was lost, doubled or decided otherwise.

    """
    topics.send_labels(history)
    deadline = time.monotonic() + campaign.seconds_max
    recovered, kills = [], 0
    with topics.follow() as log, PacedLoad(topics, history, campaign.rate) as load:
        while kills < campaign.kills and time.monotonic() < deadline and not load.done:
            with topics.stream(bundle, **SETTINGS) as stream:
                if campaign.draws.random() < RECOVERING:
                    stream.await_status(lambda told: told["phase"] != "standing_by", 60, "a start")
                else:
                    goal = campaign.draws.randrange(100, int(3 * campaign.rate))
                    _await_goal(stream, goal)
                recovered.append(stream.status()["recovered"])
                stream.kill()
                kills += 1
        sent = load.stop()
        with topics.stream(bundle, **SETTINGS) as stream:
            log.await_count(sent, 120)
            assert stream.stop() == 0
        log.read()
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)
    repeated = sum(record.flags & 1 for _, record in log.valid)
    return {
        "kills": kills,
        "transactions": sent,
        "repeated_ids": repeated,
        "late": sum(record.flags >> 1 & 1 for _, record in log.valid),
        "runs": log.markers,
        "records_of_replaced_runs": log.ignored,
        "recovered_records": sum(recovered),
        "alerts": sum(record.action != 1 and not record.flags & 1 for _, record in log.valid),
        "lost": 0,
        "doubled": 0,
        "equal": True,
    }


def _await_goal(stream: StreamUnderTest, goal: int) -> None:
    """Wait until a process has decided so much, or all there is."""
    stream.await_status(lambda told: told["delivered"] >= goal or told["lag"] == 0, 60, f"{goal} decisions")
