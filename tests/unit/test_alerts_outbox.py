"""The outbox: whatever happens in whatever order, processes that die included, each alert is told of once."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from alert_records import alert
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fraudengine.alerts import desk
from fraudengine.alerts.outbox import FILE_NAME, Outbox
from fraudengine.alerts.rollup import Rollup
from fraudengine.alerts.routing import OTHERS
from fraudengine.alerts.tables import Key, Place
from fraudengine.config import load
from fraudengine.errors import AlertError, ConfigError
from fraudengine.settings_alerts import AlertsSettings

TOPIC = "alerts"
TARGETS = ("a", "b")


def settings(folder: Path, **more: object) -> AlertsSettings:
    told = {"state_folder": folder, "group_wait_seconds": 1, "group_interval_seconds": 10, **more}
    return load(flags={f"alerts.{name}": value for name, value in told.items()}).alerts


def opened(folder: Path, **more: object) -> Outbox:
    outbox = Outbox(settings(folder, **more))
    if outbox.place(TOPIC) is None:
        outbox.go_to(TOPIC, Place(0, 0))
    return outbox


def take_in(outbox: Outbox, subjects: dict[str, int], now_ms: int, targets: tuple[str, ...] = TARGETS) -> int:
    """Add so many alerts of each subject for each target, as the intake does."""
    place = outbox.place(TOPIC)
    assert place is not None
    arrivals: dict[Key, Rollup] = {}
    for subject, count in subjects.items():
        rollup = Rollup.of(alert())
        for _ in range(count - 1):
            rollup.add(Rollup.of(alert()))
        arrivals |= {(target, "all", subject): rollup for target in targets}
    after = Place(place.next_offset + sum(subjects.values()), place.generation)
    return outbox.take_in(place, after, arrivals, now_ms)


def drained(outbox: Outbox, now_ms: int) -> list[tuple[str, str, str, int]]:
    """Let the targets take everything, until the outbox is empty; return target, id, subject and alerts."""
    taken = []
    for _ in range(200):
        now_ms += 10_000
        for target in TARGETS:
            if (waiting := outbox.next_for(target, now_ms)) is not None:
                message = waiting.message
                taken.append((target, message.id, message.subject, message.rollup.alerts))
                outbox.accepted(waiting, now_ms)
        figures = desk.figures(outbox, now_ms)
        if not (figures.groups or figures.waiting):
            return taken
    raise AssertionError(f"the outbox is never empty: {figures}")


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("alerts"), st.sampled_from(["card:x", "card:y", "customer:z"]), st.integers(1, 5)),
        st.tuples(st.just("pause"), st.integers(1, 20_000)),
        st.tuples(st.just("accept"), st.sampled_from(TARGETS)),
        st.tuples(st.just("trouble"), st.sampled_from(TARGETS)),
        st.tuples(st.just("refuse"), st.sampled_from(TARGETS)),
        st.tuples(st.just("die"), st.sampled_from(TARGETS)),
        st.tuples(st.just("snooze"), st.sampled_from(["card:x", "merchant:m"]), st.integers(0, 60_000)),
        st.tuples(st.just("retry")),
    ),
    max_size=40,
)


@hypothesis_settings(max_examples=40)
@given(EVENTS)
def test_every_alert_is_in_one_message_a_target_and_deaths_repeat_one_each(events: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outbox = opened(Path(folder))
        now_ms, deaths = 1_000_000, 0
        arrived: Counter[str] = Counter()
        taken: list[tuple[str, str, str, int]] = []
        for kind, *rest in events:
            if kind == "alerts":
                take_in(outbox, {rest[0]: rest[1]}, now_ms)
                arrived[rest[0]] += rest[1]
            elif kind == "pause":
                now_ms += rest[0]
            elif kind == "snooze":
                desk.snooze(outbox, rest[0], now_ms + rest[1], "", now_ms)
            elif kind == "retry":
                desk.retry(outbox, TARGETS, now_ms)
            elif (waiting := outbox.next_for(rest[0], now_ms)) is not None:
                message = waiting.message
                if kind in ("accept", "die"):
                    taken.append((rest[0], message.id, message.subject, message.rollup.alerts))
                if kind == "accept":
                    outbox.accepted(waiting, now_ms)
                elif kind == "trouble":
                    outbox.put_off(waiting, now_ms + 1_000, "busy")
                elif kind == "refuse":
                    outbox.refused(waiting, now_ms, "never")
                else:
                    # Taken by the target, and the process dies before it knows.
                    outbox.close()
                    outbox = opened(Path(folder))
                    deaths += 1
        desk.retry(outbox, TARGETS, now_ms)
        taken += drained(outbox, now_ms)
        outbox.close()
    assert len(taken) - len(set(taken)) <= deaths
    for target in TARGETS:
        told: Counter[str] = Counter()
        for its, _, subject, count in set(taken):
            told[subject] += count if its == target else 0
        assert +told == arrived


def test_a_place_is_moved_by_one_process_only(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    take_in(outbox, {"card:x": 3}, 0)
    assert outbox.place(TOPIC) == Place(3, 0)
    with pytest.raises(AlertError, match="another process"):
        outbox.take_in(Place(0, 0), Place(9, 0), {("a", "all", "card:x"): Rollup.of(alert())}, 0)
    assert outbox.place(TOPIC) == Place(3, 0)
    with pytest.raises(AlertError, match="about the topic 'alerts', not 'other'"):
        outbox.place("other")
    outbox.close()


def test_groups_beyond_the_bound_share_one(tmp_path: Path) -> None:
    outbox = opened(tmp_path, groups_max=2)
    assert take_in(outbox, {"card:1": 1, "card:2": 1, "card:3": 4, "card:4": 5}, 0, ("a",)) == 9
    assert take_in(outbox, {"card:1": 1, "card:5": 2}, 0, ("a",)) == 2
    told = {}
    while (waiting := outbox.next_for("a", 5_000)) is not None:
        told[waiting.message.subject] = waiting.message.rollup.alerts
        outbox.accepted(waiting, 5_000)
    assert told == {"card:1": 2, "card:2": 1, OTHERS: 11}
    assert desk.figures(outbox, 5_000).groups == 3
    outbox.close()


def test_refused_messages_are_bounded_listed_and_sent_off_again(tmp_path: Path) -> None:
    outbox = opened(tmp_path, failed_max=2)
    take_in(outbox, {f"card:{number}": 1 for number in range(3)}, 0, ("a",))
    discarded = 0
    for at_ms in (5_000, 6_000, 7_000):
        waiting = outbox.next_for("a", at_ms)
        assert waiting is not None
        discarded += outbox.refused(waiting, at_ms, f"no {at_ms}")
    assert discarded == 1
    assert [each.error for each in desk.unsent(outbox, "failed", 10)] == ["no 7000", "no 6000"]
    assert desk.figures(outbox, 0).failed == {"a": 2}
    assert desk.retry(outbox, ["b"], 8_000) == 0
    assert desk.retry(outbox, ["a"], 8_000) == 2
    assert desk.figures(outbox, 0).waiting == {"a": 2}
    outbox.close()


def test_a_message_is_the_same_at_every_attempt(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    take_in(outbox, {"card:x": 1}, 0, ("a",))
    first = outbox.next_for("a", 1_000)
    assert first is not None
    assert outbox.next_for("a", 1_000) == first
    outbox.put_off(first, 3_000, "busy")
    take_in(outbox, {"card:x": 7}, 1_500, ("a",))
    assert outbox.next_for("a", 2_999) is None
    outbox.close()
    outbox = opened(tmp_path)
    again = outbox.next_for("a", 3_000)
    assert again is not None
    assert (again.message, again.attempts, again.error) == (first.message, 1, "busy")
    outbox.accepted(again, 3_000)
    assert outbox.next_for("a", 12_999) is None
    roll_up = outbox.next_for("a", 13_000)
    assert roll_up is not None
    assert (roll_up.message.rollup.alerts, roll_up.message.number, roll_up.message.alerts_before) == (7, 2, 1)
    assert roll_up.message.thread == first.message.id
    outbox.close()


def test_a_snooze_holds_back_and_its_end_tells_everything(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    desk.snooze(outbox, "card:x", 60_000, "kim", 0)
    assert outbox.snoozed(59_999) == {"card:x": 60_000}
    take_in(outbox, {"card:x": 2}, 1_000, ("a",))
    take_in(outbox, {"card:x": 2}, 30_000, ("a",))
    assert outbox.next_for("a", 59_999) is None
    told = outbox.next_for("a", 60_000)
    assert told is not None
    assert told.message.rollup.alerts == 4
    outbox.accepted(told, 60_000)
    take_in(outbox, {"card:x": 1}, 70_000, ("a",))
    desk.snooze(outbox, "card:x", 500_000, "kim", 70_000)
    assert outbox.next_for("a", 100_000) is None
    desk.snooze(outbox, "card:x", 0, "kim", 100_000)
    assert outbox.next_for("a", 100_000) is not None
    with pytest.raises(ConfigError, match="30 days at most"):
        desk.snooze(outbox, "card:x", desk.SNOOZE_MS_MAX + 1, "kim", 0)
    outbox.close()


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(AlertError, match=f"{FILE_NAME} cannot be used"):
        Outbox(settings(tmp_path))
    newer = tmp_path / "newer"
    Outbox(settings(newer)).close()
    with sqlite3.connect(newer / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(AlertError, match="has version 9, this program knows 1"):
        Outbox(settings(newer))
