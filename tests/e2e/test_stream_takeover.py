"""A second process takes over, however the first one went: nothing lost, nothing doubled, all equal."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stream_oracle import assert_alerts_right, assert_log_right
from stream_process import StreamUnderTest, eventually
from stream_topics import PacedLoad, Topics

from fraudengine import config
from fraudengine.errors import ConfigError
from fraudengine.streaming import StreamProcess

SMALL_STEPS: dict[str, Any] = {
    "state__snapshot_interval_seconds": 1,
    "engine__batch_max": 64,
    "output__in_flight_max": 1024,
}
RATE = 800.0
# Four takeovers, each with a new process, before the history ends.
SLOW = 150
# The session of a process that is gone ends after 6 s; the rest is starting and recovering when busy.
TAKEOVER_SECONDS = 40.0


@pytest.mark.parametrize("folders", ["shared", "own"])
@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_another_process_takes_over(
    way: str, folders: str, topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    topics.send_labels(history)
    more = SMALL_STEPS | ({"state__folder": topics.folder / "state"} if folders == "shared" else {})
    with (
        topics.stream(bundle, "first", **more) as first,
        topics.stream(bundle, "second", **more) as second,
        topics.follow() as log,
    ):
        # Whichever of the two was seated is called the owner from here on.
        owner, other = _owner_and_other(first, second)
        with PacedLoad(topics, history, RATE) as load:
            owner.await_decisions(1_500)
            told = other.await_status(
                lambda told: told["standby_behind"] is not None, 30, "that it has the state"
            )
            assert told["phase"] == "standing_by"
            if way == "stopped":
                assert owner.stop() == 0
            else:
                owner.kill()
            told = other.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover")
            if folders == "own":
                assert told["recovered"] >= 1_500, "the other state folder was empty: all comes from the log"
            sent = load.join()
        log.await_count(sent, 60)
        assert other.stop() == 0
        log.read()
        assert log.markers == 2
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)


def test_processes_that_share_a_folder_take_turns_again_and_again(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    """Killed and stopped in turn under load, with refused records among the others."""
    topics.send_labels(history)
    sent = 0
    with topics.follow() as log, PacedLoad(topics, history, SLOW) as load, ExitStack() as started:
        owner = started.enter_context(topics.stream(bundle, "state", **SMALL_STEPS))
        # Whoever comes first has the folder.
        owner.await_status(lambda told: told["phase"] == "running", 60, "the first process")
        for turn in range(4):
            more = SMALL_STEPS | {"state__folder": topics.folder / "state"}
            other = started.enter_context(topics.stream(bundle, f"standby-{turn}", **more))
            other.await_status(lambda told: told["standby_behind"] is not None, 30, "that it has the state")
            owner.await_decisions(100)
            topics.send_broken(2)
            if turn % 2:
                assert owner.stop() == 0
            else:
                owner.kill()
            other.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover")
            owner = other
        sent = load.stop()
        log.await_count(sent, 60)
        owner.await_status(lambda told: told["lag"] == 0 and not told["in_flight"], 30, "that all is decided")
        assert owner.stop() == 0
        log.read()
        assert log.markers == 5
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)
    assert len(topics.dead_letters()) == 8


@pytest.mark.parametrize("version", [0, 2], ids=["upgrade", "way back"])
def test_snapshots_of_another_layout_are_left_aside_and_the_log_read_instead(
    version: int, topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    """As in a rolling upgrade: the process that stands by finds nothing but files of the other version."""
    topics.send_labels(history)
    steps = SMALL_STEPS | {"state__snapshot_interval_seconds": 3_600}
    with (
        topics.stream(bundle, **steps) as owner,
        topics.follow() as log,
        PacedLoad(topics, history, RATE) as load,
    ):
        owner.await_decisions(1_000)
        owner.client().snapshot()
        files = list((topics.folder / "state").glob("*.snapshot"))
        assert files
        for file in files:
            with file.open("r+b") as content:
                assert content.read(12) == b"FRAUDSTA" + (1).to_bytes(4, "little")
                content.seek(8)
                content.write(version.to_bytes(4, "little"))
        more = steps | {"state__folder": topics.folder / "state"}
        with topics.stream(bundle, "new", **more) as other:
            other.await_status(lambda told: told["standby_behind"] is not None, 30, "that it has the state")
            assert f"version is {version}," in other.log.read_text()
            decided = owner.status()["delivered"]
            owner.kill()
            told = other.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover")
            assert told["recovered"] >= decided, "all of the log, not what follows a snapshot"
            sent = load.stop()
            log.await_count(sent, 60)
            assert other.stop() == 0
            log.read()
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)


def test_a_folder_of_another_group_is_refused(topics: Topics, bundle: Path) -> None:
    with topics.stream(bundle, **SMALL_STEPS) as owner:
        owner.await_status(lambda told: told["phase"] == "running", 60, "a first process that decides")
        flags = {**topics.settings(), "kafka.group": "somebody-else", "http.port": 0}
        with pytest.raises(ConfigError, match="in use by another process, for group"):
            StreamProcess(config.load(flags=flags), bundle)
        assert owner.stop() == 0


def test_a_process_that_slept_while_another_took_over_is_not_heard(
    topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    topics.send_labels(history)
    with (
        topics.stream(bundle, "first", **SMALL_STEPS) as first,
        topics.stream(bundle, "second", **SMALL_STEPS) as second,
        topics.follow() as log,
        PacedLoad(topics, history, RATE) as load,
    ):
        owner, other = _owner_and_other(first, second)
        owner.await_decisions(500)
        owner.pause()
        other.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover")
        other.await_decisions(500)
        owner.resume()
        # It wakes with records in hand and a seat that it has lost.
        owner.await_status(lambda told: told["phase"] == "standing_by", 40, "that it stands by")
        sent = load.join()
        log.await_count(sent, 60)
        # Its seat is not worth less than before: it can take over in turn.
        other.kill()
        owner.await_status(lambda told: told["phase"] == "running", TAKEOVER_SECONDS, "a takeover back")
        sent += topics.send(history[:200], labels=False)
        log.await_count(sent, 60)
        assert owner.stop() == 0
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)


@pytest.mark.parametrize("topic", ["decisions", "alerts", "dead_letter"])
def test_a_marker_of_a_process_that_had_slept_is_answered_with_a_new_one(
    topic: str, topics: Topics, bundle: Path, history: pl.DataFrame
) -> None:
    """A process may fall asleep between being seated and writing its marker, and wake when another runs.

    From its marker on, readers ignore the one that runs: it must notice, and begin again.
    """
    third = history.height // 3
    sent = topics.send(history[:third])
    topics.send_labels(history)
    with topics.stream(bundle, **SMALL_STEPS) as stream, topics.follow() as log:
        log.await_count(sent, 60)
        topics.mark(topic)
        sent += topics.send(history[third:], labels=False)
        broken = topics.send_broken(5)
        log.await_count(sent, 60)
        stream.await_status(lambda told: told["restarts"] == 1 and told["lag"] == 0, 20, "one restart")
        assert stream.stop() == 0
    assert_log_right(log.valid, sent, bundle, history)
    assert_alerts_right(topics, log.valid)
    assert len(topics.dead_letters()) == broken


def _owner_and_other(
    first: StreamUnderTest, second: StreamUnderTest
) -> tuple[StreamUnderTest, StreamUnderTest]:
    """Wait until one has the seat; return that one first."""
    eventually(
        lambda: any(each.status()["phase"] == "running" for each in (first, second)), 60, "one has the seat"
    )
    return (first, second) if first.status()["phase"] == "running" else (second, first)
