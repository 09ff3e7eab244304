"""A record that ends the process: after the second time it is a dead letter, and nobody else notices.

The setting `drill` makes a chosen transaction end the process, as a fault of ours in decoding or deciding
would.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stream_oracle import assert_alerts_right, assert_same, replayed
from stream_topics import Topics
from wire_messages import by_source, read_all

POISON = 5
SETTINGS: dict[str, Any] = {"state__snapshot_interval_seconds": 0.3, "engine__batch_max": 64}
ROWS = 6_000


def single_id(history: pl.DataFrame, wanted: pl.Expr) -> str:
    """Return the id, about in the middle, of a transaction that occurs once."""
    ids = history.filter(wanted & ~pl.col("transaction_id").is_duplicated())["transaction_id"]
    return str(ids[len(ids) // 2])


def end_twice(topics: Topics, bundle: Path, settings: dict[str, Any]) -> None:
    """Let two processes end by the record."""
    for _ in range(2):
        with topics.stream(bundle, **settings) as stream:
            assert stream.process.wait(60) == -signal.SIGABRT, stream.tail()


@pytest.mark.parametrize("stage", ["decode", "decide"])
def test_a_transaction_that_ends_two_processes_is_a_dead_letter(
    stage: str, topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    history = history[:ROWS]
    poison = single_id(history, pl.col("is_fraud") == 0)
    drill = {**SETTINGS, "drill__transaction_id": poison, "drill__stage": stage}
    sent = topics.send(history)
    end_twice(topics, bundle, drill)
    with topics.follow() as log:
        with topics.stream(bundle, **drill) as stream:
            log.await_count(sent - 1, 120)
            told = stream.await_status(lambda told: not told["careful"], 30, "the suspects to pass")
            assert told["dead_letters"] == 1
            assert stream.stop() == 0
        # A process that knows nothing but the topics keeps it out as well.
        more = topics.send(history[:1], labels=False)
        with topics.stream(bundle, "elsewhere", **drill) as stream:
            log.await_count(sent - 1 + more, 120)
            assert stream.stop() == 0
        log.read()
    assert len(by_source(log.valid)) == len(log.valid) == sent, "each of the others once"
    assert poison not in {record.transaction.transaction_id for _, record in log.valid}
    assert_same(log.valid, replayed(bundle, log.valid, history))
    assert_alerts_right(topics, log.valid)
    [(_, letter)] = topics.dead_letters()
    assert (letter.reason, letter.detail) == (POISON, "it ended the process twice")
    source = read_all(topics.brokers, topics.names["transactions"])
    values = {(partition, offset): value for partition, offset, value in source}
    assert poison.encode() in values[letter.source_partition, letter.source_offset]
    known = json.loads((topics.folder / "state" / "suspicion.json").read_text())
    assert (known["careful"], len(known["quarantined"])) == (False, 1)


def test_a_label_that_ends_two_processes_is_a_dead_letter(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    poison = single_id(history[: ROWS // 4], pl.col("is_fraud") == 1)
    drill = {**SETTINGS, "drill__transaction_id": poison, "drill__stage": "label"}
    sent = topics.send(history[:ROWS], labels=False)
    topics.send_labels(history)
    end_twice(topics, bundle, drill)
    with topics.follow() as log:
        with topics.stream(bundle, **drill) as stream:
            log.await_count(sent, 120)
            stream.kill()
        # Its windows are made anew from the log, without the label that was never learnt.
        sent += topics.send(history[ROWS : 2 * ROWS], labels=False)
        with topics.stream(bundle, "elsewhere", **drill) as stream:
            log.await_count(sent, 120)
            assert stream.stop() == 0
    unlabelled = pl.when(pl.col("transaction_id") != poison).then(pl.col("is_fraud"))
    assert_same(log.valid, replayed(bundle, log.valid, history.with_columns(is_fraud=unlabelled)))
    [(_, letter)] = topics.dead_letters()
    assert (letter.reason, letter.source_topic) == (POISON, topics.names["labels"])


def test_a_panic_ends_runs_and_not_the_process(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    history = history[:ROWS]
    poison = single_id(history, pl.col("is_fraud") == 0)
    sent = topics.send(history)
    drill = {**SETTINGS, "drill__transaction_id": poison, "drill__fault": "panic"}
    with topics.stream(bundle, **drill) as stream, topics.follow() as log:
        log.await_count(sent - 1, 120)
        told = stream.status()
        assert (told["restarts"], told["dead_letters"]) == (2, 1)
        assert stream.stop() == 0
    assert_same(log.valid, replayed(bundle, log.valid, history))


def test_whoever_is_killed_accuses_nobody(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    history = history[:ROWS]
    suspect = single_id(history, pl.col("is_fraud") == 0)
    sent = topics.send(history)
    with topics.stream(bundle, **SETTINGS, drill__transaction_id=suspect) as stream:
        assert stream.process.wait(60) == -signal.SIGABRT
    # It was not the record's fault: without the drill it is decided, however often its processes are killed.
    with topics.follow() as log:
        for kill in range(5):
            with topics.stream(bundle, **SETTINGS) as stream:
                log.await_count((kill + 1) * sent // 8, 60)
                stream.kill()
        with topics.stream(bundle, **SETTINGS) as stream:
            log.await_count(sent, 60)
            stream.await_status(lambda told: not told["careful"], 30, "the suspects to pass")
            assert stream.stop() == 0
    assert_same(log.valid, replayed(bundle, log.valid, history))
    assert topics.dead_letters() == []
    known = json.loads((topics.folder / "state" / "suspicion.json").read_text())
    assert known == {"careful": False, "unnamed": False, "accused": None, "quarantined": []}


def test_more_poison_than_allowed_stops_the_stream(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    history = history[:ROWS]
    poison = single_id(history, pl.col("is_fraud") == 0)
    topics.send(history)
    drill = {**SETTINGS, "drill__transaction_id": poison, "drill__fault": "panic"}
    with topics.stream(bundle, **drill, dead_letter__poison_max=0) as stream:
        assert stream.process.wait(60) != 0
        assert "more than dead_letter.poison_max = 0" in stream.tail(200)
