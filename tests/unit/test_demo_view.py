"""The view of a live demonstration: the figures of each stage, and lines where there is no terminal."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fraudengine.cli.demo_view import DemoView, line, rows
from fraudengine.demo import Figures, Outcome, Stage

LIVE = Figures(
    stage=Stage.LIVE,
    day=93,
    days=100,
    sent=50_000,
    to_send=98_000,
    per_second=1_634.4,
    latency_millis=(3.0, 7.5, math.inf),
    waiting=12,
    actions=(49_500, 288, 200),
    outcome=Outcome(
        transactions=49_900,
        frauds=250,
        caught=230,
        blocked=190,
        disturbed=250,
        at_stake_minor=5_000_000,
        stopped_minor=4_500_050,
    ),
    postgres_rows=651_900,
    postgres_behind=88,
    redis_rows=651_988,
    redis_behind=0,
    labels=600_000,
    dead_letters=0,
)
WARMING = replace(LIVE, stage=Stage.WARMING, latency_millis=None, outcome=Outcome())


def test_the_live_part_shows_detection_latency_and_lag() -> None:
    shown = dict(rows(LIVE))
    assert shown["sent"] == "50,000 of 98,000   day 93 of 100"
    assert shown["decisions"] == "49,988   1,634 a second"
    assert shown["latency p50 / p95 / p99, at most"] == "3 / 7.5 / over 1,000 ms"
    assert shown["fraud caught"] == "230 of 250 = 92.0%   20 missed"
    assert shown["honest payments disturbed"] == "250 = 0.50%"
    assert shown["money stopped"] == "45,000.50 EUR of 50,000.00 EUR"
    assert shown["PostgreSQL"] == "651,900 rows   88 behind"


def test_the_warm_up_claims_no_detection() -> None:
    assert "fraud caught" not in dict(rows(WARMING))
    assert "caught" not in line(WARMING)
    assert line(WARMING).startswith("warming  day 93/100")


def test_without_a_terminal_lines_are_printed_at_each_change_of_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with DemoView(quiet=False) as view:
        view.tell("kafka: ready")
        for figures in (WARMING, WARMING, LIVE, LIVE, replace(LIVE, stage=Stage.SETTLING)):
            view.watch(figures)
    said = capsys.readouterr().err.splitlines()
    assert [text.split()[0] for text in said] == ["note:", "warming", "live", "settling"]
    assert "fraud caught 230 of 250 = 92.0%" in said[2]


def test_a_quiet_view_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with DemoView(quiet=True) as view:
        view.tell("kafka: ready")
        view.progress("train", 1, 2)
        view.watch(LIVE)
    assert capsys.readouterr().err == ""
