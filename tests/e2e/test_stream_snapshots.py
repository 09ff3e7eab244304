"""What a start makes of its snapshots: the newest that is intact and true, an older one, or the log alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stream_oracle import assert_alerts_right, assert_log_right
from stream_process import eventually
from stream_topics import PARTITIONS, Topics

SETTINGS: dict[str, Any] = {"state__snapshot_interval_seconds": 0.5, "engine__batch_max": 64}


def _flip_a_part(newest: Path) -> None:
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0x10
    newest.write_bytes(content)


def _flip_the_header(newest: Path) -> None:
    content = bytearray(newest.read_bytes())
    content[20] ^= 1
    newest.write_bytes(content)


def _is_older(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime > seconds


def _cut(newest: Path) -> None:
    newest.write_bytes(newest.read_bytes()[:-100])


def _empty(newest: Path) -> None:
    newest.write_bytes(b"")


def _lose_all(newest: Path) -> None:
    for path in newest.parent.glob("state-*.snapshot"):
        path.unlink()


@pytest.mark.parametrize(
    "damage", [_flip_a_part, _flip_the_header, _cut, _empty, _lose_all], ids=lambda each: each.__name__[1:]
)
def test_a_damaged_snapshot_costs_time_and_nothing_else(
    damage: Callable[[Path], None], topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    part = history.height // 4
    topics.send_labels(history)
    sent = 0
    with topics.follow() as log:
        with topics.stream(bundle, **SETTINGS) as stream:
            for step in range(2):
                sent += topics.send(history[step * part : (step + 1) * part], labels=False)
                log.await_count(sent, 60)
                topics.await_saved(sent)
            stream.kill()
        snapshots = sorted((topics.folder / "state").glob("state-*.snapshot"))
        assert len(snapshots) >= 2
        damage(snapshots[-1])
        with topics.stream(bundle, **SETTINGS) as stream:
            sent += topics.send(history[2 * part : 3 * part], labels=False)
            log.await_count(sent, 60)
            recovered = stream.status()["recovered"]
            assert recovered == 2 * part if damage is _lose_all else recovered < 2 * part
            assert stream.stop() == 0
        told = stream.log.read_text()
        assert ("a snapshot is left aside" in told) == (damage is not _lose_all)
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)


def test_nothing_is_written_at_rest(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    with topics.stream(bundle, state__snapshot_interval_seconds=0.1) as stream:
        for sent in (500, 1_000):
            topics.send(history[sent - 500 : sent])
            stream.await_decisions(sent)
            newest = topics.await_saved(sent)
            # Ten intervals without a new file.
            eventually(partial(_is_older, newest, 1.0), 30, "rest")
        assert stream.stop() == 0


def test_a_start_at_the_end_is_where_it_began_after_a_kill(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    """What comes after the first start is decided, although the process died before its first decision."""
    part = history.height // 4
    before = history[:part]["customer_id"].str.slice(1).cast(int) % PARTITIONS
    topics.send(history[:part])
    with topics.stream(bundle, kafka__start="latest", **SETTINGS) as stream:
        stream.await_status(lambda told: told["phase"] == "running", 60, "that it runs")
        stream.kill()
    sent = topics.send(history[part : 2 * part])
    with topics.follow() as log:
        with topics.stream(bundle, kafka__start="latest", **SETTINGS) as stream:
            log.await_count(sent, 60)
            assert stream.stop() == 0
        decided = {(record.source_partition, record.source_offset) for _, record in log.valid}
        assert len(decided) == len(log.valid) == sent
    for partition in range(PARTITIONS):
        assert min(offset for where, offset in decided if where == partition) == (before == partition).sum()


def test_a_snapshot_from_before_a_takeover_is_brought_up_to_date(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    """The folder of an earlier owner goes on from its snapshot; what came between is in the log."""
    part = history.height // 4
    topics.send_labels(history)
    with topics.follow() as log:
        sent = 0
        for step, state in enumerate(["first", "second", "first"]):
            with topics.stream(bundle, state, **SETTINGS) as stream:
                sent += topics.send(history[step * part : (step + 1) * part], labels=False)
                log.await_count(sent, 60)
                assert stream.stop() == 0
            assert stream.log.read_text().count("a snapshot is left aside") == 0
    assert_log_right(log.valid, sent, bundle, history)


def test_json_transactions_are_decided_as_protobuf_ones(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    part = history[:3_000]
    topics.send_labels(history)
    sent = topics.send_json(part[:1_500])
    settings: dict[str, Any] = {**SETTINGS, "kafka__transactions_format": "json"}
    with topics.follow() as log:
        with topics.stream(bundle, **settings) as stream:
            log.await_count(sent, 60)
            stream.kill()
        with topics.stream(bundle, **settings) as stream:
            sent += topics.send_json(part[1_500:])
            log.await_count(sent, 60)
            assert stream.stop() == 0
    assert topics.dead_letters() == []
    assert_log_right(log.valid, sent, bundle, history)
