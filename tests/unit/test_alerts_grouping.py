"""Roll-ups, routes and groups: pure, so everything is compared with what it must add up to."""

from __future__ import annotations

import json
from collections import Counter
from functools import reduce
from typing import Any

import pytest
from alert_records import alert
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraudengine.alerts.grouping import Pace, Step, gathered, made, settled, step
from fraudengine.alerts.records import Alert, GenerationRule
from fraudengine.alerts.rollup import NEWEST_MAX, REASONS_MAX, Rollup
from fraudengine.alerts.routing import Router, matches, subject_of
from fraudengine.config import load
from fraudengine.settings_alerts import AlertRoute

ALERTS = st.builds(
    alert,
    st.integers(0, 1_000),
    amount_minor=st.integers(0, 10**11),
    currency=st.sampled_from(["EUR", "USD", "JPY"]),
    action=st.sampled_from(["review", "block"]),
    score=st.none() | st.floats(0, 1),
    reasons=st.lists(st.sampled_from(["a", "b", "c"]), max_size=4).map(tuple),
)
PACE = Pace(wait_ms=1_000, interval_ms=60_000)


def summed(alerts: list[Alert]) -> Rollup:
    def both(sum_: Rollup, each: Rollup) -> Rollup:
        sum_.add(each)
        return sum_

    return reduce(both, (Rollup.of(each) for each in alerts))


@given(st.lists(ALERTS, min_size=1, max_size=30), st.data())
def test_a_roll_up_is_the_sum_however_it_was_cut(alerts: list[Alert], data: st.DataObject) -> None:
    whole = summed(alerts)
    assert whole.alerts == len(alerts) == whole.counts.total()
    money: dict[str, Counter[str]] = {}
    for each in alerts:
        money.setdefault(each.action, Counter())[each.currency] += each.amount_minor
    assert whole.amounts == money
    assert whole.score_max == max((each.score for each in alerts if each.score is not None), default=None)
    assert whole.reasons == Counter(name for each in alerts for name in each.reasons)
    newest = [each.transaction_id for each in whole.newest]
    assert newest == [each.transaction_id for each in reversed(alerts)][:NEWEST_MAX]
    cut = data.draw(st.integers(0, len(alerts)))
    halves = [summed(part) for part in (alerts[:cut], alerts[cut:]) if part]
    joined = Rollup.from_json(halves[0].to_json())
    for later in halves[1:]:
        joined.add(Rollup.from_json(later.to_json()))
    assert joined == whole


def test_a_roll_up_is_bounded() -> None:
    many = summed([alert(number, reasons=("often", f"r{number}")) for number in range(3 * REASONS_MAX)])
    assert len(many.reasons) == REASONS_MAX
    assert many.reasons["often"] == many.alerts == 3 * REASONS_MAX
    assert len(many.to_json()) < 20_000


def route(**conditions: Any) -> AlertRoute:
    return AlertRoute.model_validate_json(json.dumps({"targets": ["x"], **conditions}))


@pytest.mark.parametrize(
    ("conditions", "changed", "met"),
    [
        ({}, {}, True),
        ({"score_min": 0.5}, {"score": 0.5}, True),
        ({"score_min": 0.5}, {"score": 0.49}, False),
        ({"score_min": 0.5}, {"score": None}, True),
        ({"amount_min": {"EUR": 100}}, {"amount_minor": 100}, True),
        ({"amount_min": {"EUR": 100}}, {"amount_minor": 99}, False),
        ({"amount_min": {"EUR": 100}}, {"amount_minor": 10**9, "currency": "USD"}, False),
        ({"actions": ["block"]}, {"action": "review"}, False),
        ({"actions": ["review", "block"]}, {"action": "review"}, True),
        ({"reasons": ["merchant_*"]}, {"reasons": ("x", "merchant_fraud")}, True),
        ({"reasons": ["merchant_*"]}, {"reasons": ()}, False),
        ({"merchants": ["m1"]}, {"merchant": "m1"}, True),
        ({"merchants": ["m1"]}, {"merchant": None}, False),
        ({"merchant_categories": [0]}, {"merchant_category": 0}, True),
        ({"merchant_categories": [0]}, {"merchant_category": None}, False),
        ({"channels": ["atm"]}, {"channel": "ecommerce"}, False),
        ({"countries": ["DE"]}, {"country": "DE"}, True),
        ({"countries": ["DE"], "actions": ["block"]}, {"country": "DE", "action": "review"}, False),
    ],
)
def test_a_route_is_taken_when_every_condition_is_met(
    conditions: dict[str, Any], changed: dict[str, Any], met: bool
) -> None:
    assert matches(route(**conditions), alert(**changed)) is met


@pytest.mark.parametrize(
    "wrong", [{"targets": []}, {"channels": ["fax"]}, {"score_min": 2}, {"colour": "red"}]
)
def test_a_route_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        route(**wrong)


def test_a_group_is_named_by_what_is_asked_for_or_by_the_customer() -> None:
    assert subject_of(alert(), "card", {}) == "card:k0"
    assert subject_of(alert(device="d"), "device", {}) == "device:d"
    assert subject_of(alert(), "device", {}) == "customer:c0"
    assert subject_of(alert(), "card", {"merchant:m0": 1}) == "merchant:m0"
    assert subject_of(alert(device=None), "card", {"device:None": 1, "customer:c0": 1}) == "customer:c0"


def test_without_routes_everything_goes_everywhere() -> None:
    inbox = {"kind": "inbox", "folder": "x"}
    router = Router(load(flags={"alerts.targets": {"a": inbox, "b": inbox}}).alerts)
    assert router.of(alert(), {}) == [("all", "card:k0")]
    assert router.routes["all"].targets == ("a", "b")


def test_several_routes_may_be_taken_and_each_groups_as_it_likes() -> None:
    inbox = {"kind": "inbox", "folder": "x"}
    routes = {
        "large": {"targets": ["a"], "amount_min": {"EUR": 1}},
        "shops": {"targets": ["a", "b"], "group_by": "merchant"},
        "cash": {"targets": ["b"], "channels": ["atm"]},
    }
    router = Router(load(flags={"alerts.targets": {"a": inbox, "b": inbox}, "alerts.routes": routes}).alerts)
    assert router.of(alert(), {}) == [("large", "card:k0"), ("shops", "merchant:m0")]


def test_the_generation_rule_is_that_of_the_native_reader() -> None:
    rule = GenerationRule(0)
    rule.marker(0)
    assert rule.admits(0)
    rule.marker(7)
    assert [rule.admits(each) for each in (7, 0, 7)] == [True, False, True]
    begun = GenerationRule(0)
    assert begun.admits(40)
    assert not begun.admits(12)
    assert not GenerationRule(begun.highest).admits(12)


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.sampled_from(["alerts", "look", "settle"])), max_size=60)
)
def test_messages_of_a_group_hold_every_alert_once_and_keep_their_distance(
    events: list[tuple[int, str]],
) -> None:
    now, group, sent, told = 0, None, 0, 0
    settled_at: list[int] = []
    first_alert: int | None = None
    for pause, event in [*events, *[(PACE.interval_ms, "look"), (1, "settle")] * 3]:
        now += pause
        if event == "alerts":
            first_alert = now if group is None else first_alert
            group = gathered(group, Rollup.of(alert(sent)), PACE, now, 0)
            sent += 1
        elif group is not None and event == "settle" and group.sending is not None:
            group = settled(group, PACE, now)
            settled_at.append(now)
        elif group is not None and event == "look":
            match step(group, now):
                case Step.SEND:
                    assert group.pending is not None
                    assert first_alert is not None
                    assert now >= first_alert + PACE.wait_ms
                    assert not settled_at or group.messages == 0 or now >= settled_at[-1] + PACE.interval_ms
                    told += group.pending.alerts
                    group = made(group, "id", group.pending.alerts)
                case Step.FORGET:
                    assert (group.pending, group.sending) == (None, None)
                    group = None
                case Step.WAIT:
                    pass
    pending = 0 if group is None or group.pending is None else group.pending.alerts
    assert told == sent
    assert pending == 0


def test_a_snooze_puts_a_group_off() -> None:
    group = gathered(None, Rollup.of(alert()), PACE, 0, 500_000)
    assert step(group, 499_999) is Step.WAIT
    assert step(group, 500_000) is Step.SEND
    later = gathered(gathered(None, Rollup.of(alert()), PACE, 0, 0), Rollup.of(alert()), PACE, 10, 70_000)
    assert (later.due_ms, later.pending and later.pending.alerts) == (70_000, 2)
