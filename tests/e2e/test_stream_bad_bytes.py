"""Broken records between good ones: each is told once in the dead-letter topic, and nobody else notices.

20,000 by default; `FRAUDENGINE_BAD_BYTES=1000000` makes it the long run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from stream_oracle import assert_alerts_right, assert_log_right
from stream_topics import Follower, Topics
from wire_messages import by_source, read_all

from fraudengine.datasets.load import LoadTarget, start_load
from fraudengine.datasets.synthetic import SyntheticConfig, generate

BROKEN = int(os.environ.get("FRAUDENGINE_BAD_BYTES", "20000"))
BROKEN_TO_A_GOOD_ONE = 8
SECONDS = 60 + BROKEN / 1_000
REASONS = {1: "malformed", 2: "invalid", 3: "too large"}


@pytest.mark.parametrize(
    ("form", "kills", "raw"), [("protobuf", 3, False), ("json", 0, True)], ids=["protobuf-killed", "json-raw"]
)
def test_broken_records_are_dead_letters_and_disturb_nobody(
    form: str, kills: int, raw: bool, topics: Topics, bundle: Path
) -> None:
    good = BROKEN // BROKEN_TO_A_GOOD_ONE
    world = SyntheticConfig(customers=300, merchants=80, days=max(12, good // 150), fraud_rate=0.03, seed=8)
    history = generate(world)
    topics.send_labels(history)
    load = start_load(
        world,
        LoadTarget(
            brokers=topics.brokers,
            topic=topics.names["transactions"],
            labels_topic="",
            payload_format="json" if form == "json" else "protobuf",
            tps=0,
            count=good,
            malformed=BROKEN_TO_A_GOOD_ONE,
        ),
    )
    assert load.wait(SECONDS)
    sent = load.report()
    assert (sent.transactions, sent.failed) == (good, 0)
    assert sent.malformed >= 0.9 * BROKEN

    settings: dict[str, Any] = {
        "kafka__transactions_format": form,
        "state__snapshot_interval_seconds": 0.5,
        "dead_letter__raw": raw,
        "dead_letter__hash_key": "a secret of this test",
        **({"engine__batch_max": 32} if kills else {}),
    }
    with topics.follow() as log, topics.follow("dead_letter") as letters:
        for number in range(kills):
            with topics.stream(bundle, **settings) as stream:
                letters.await_count((number + 1) * sent.malformed // (kills + 2), SECONDS)
                stream.kill()
        with topics.stream(bundle, **settings) as stream:
            log.await_count(good, SECONDS)
            letters.await_count(sent.malformed, SECONDS)
            assert stream.stop() == 0
        assert log.read() == good
        assert letters.read() == sent.malformed
    assert_log_right(log.valid, good, bundle, history)
    assert_alerts_right(topics, log.valid)
    _assert_told(topics, letters, raw=raw)
    assert not by_source(letters.valid).keys() & by_source(log.valid).keys()


def _assert_told(topics: Topics, letters: Follower, *, raw: bool) -> None:
    """Assert that each letter describes its record."""
    source = topics.names["transactions"]
    values = {(partition, offset): value for partition, offset, value in read_all(topics.brokers, source)}
    hashes: dict[bytes, set[int]] = defaultdict(set)
    reasons: set[int] = set()
    for _, letter in letters.valid:
        value = values[letter.source_partition, letter.source_offset]
        assert letter.source_topic == source
        assert letter.length == len(value)
        assert letter.reason in REASONS, letter
        assert letter.detail
        assert letter.HasField("raw") == raw
        if raw:
            assert letter.raw == value
        hashes[value].add(letter.keyed_hash)
        reasons.add(letter.reason)
    assert reasons == REASONS.keys()
    assert all(len(each) == 1 for each in hashes.values()), "equal records have equal hashes"
    assert len({next(iter(each)) for each in hashes.values()}) == len(hashes), "different ones different"


def test_a_record_as_large_as_the_broker_takes_is_told_with_a_part_of_it(
    topics: Topics, bundle: Path, history: Any
) -> None:
    huge = b"\x07" * 1_040_000
    topics.send_raw([huge])
    sent = topics.send(history[:50])
    with topics.stream(bundle, dead_letter__raw=True) as stream, topics.follow() as log:
        log.await_count(sent, 60)
        assert stream.status()["restarts"] == 0
        assert stream.stop() == 0
    [(_, letter)] = topics.dead_letters()
    assert letter.length == len(huge)
    assert letter.raw == huge[:900_000]
