"""SIGKILL at random moments: nothing is lost, nothing is counted twice, and the state is as if never killed.

`benchmarks/kill.py` runs the long campaign; this is the smoke test of the same check.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path

import polars as pl
from wire_messages import by_source, read_topic, valid_records

from .conftest import Topics
from .test_stream_parity import assert_same, replayed

KILLS = 4


def test_kills_lose_nothing_and_double_nothing(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    draws = random.Random(11)
    half = history.height // 2
    topics.send(history)
    # The second half of the records arrives while processes die; the labels came first.
    more = threading.Thread(target=topics.send, args=(history[half:],), kwargs={"labels": False})
    settings = {"state__snapshot_interval_seconds": 1, "engine__batch_max": 64, "output__in_flight_max": 1024}
    more.start()
    recovered = []
    for _ in range(KILLS):
        with topics.stream(bundle, **settings) as stream:
            goal = draws.randrange(200, 6_000)
            stream.await_status(
                lambda told, goal=goal: told["delivered"] >= goal or told["lag"] == 0,
                60,
                f"{goal} decisions",
            )
            recovered.append(stream.status()["recovered"])
            stream.kill()
    more.join()
    sent = history.height + history.height - half
    with topics.stream(bundle, **settings) as stream:
        stream.await_status(
            lambda told: told["phase"] == "running" and told["lag"] == 0 and told["in_flight"] == 0,
            60,
            "everything decided",
        )
        assert stream.stop() == 0

    decided = topics.decisions()
    assert len(by_source(decided)) == sent, "every record once"
    assert_same(decided, replayed(bundle, decided, history))
    flagged = {
        (record.source_partition, record.source_offset)
        for _, record in decided
        if record.action != 1 and not record.flags & 1
    }
    alerts = valid_records(read_topic(topics.brokers, topics.names["alerts"], "DecisionRecord"))
    assert set(by_source(alerts)) == flagged, "every alert once"
    assert sum(recovered) > 0, "restarts took something in again"
