"""Scenarios: what a file may say, what world it makes, and figures that repeat to the cent and add up."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudengine.bundle import Bundle
from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.datasets.synthetic import generate
from fraudengine.demo.outcome import Outcome
from fraudengine.errors import ConfigError
from fraudengine.scenario import built_in, generate_world, load_plan, play

Captured = pytest.CaptureFixture[str]
SMALL = """
title = "Two bad days"
play_days = 6

[world]
seed = 3
customers = 500
merchants = 200
start = 2025-11-01
days = 40
fraud_rate = 0.02

[[bursts]]
first = 2025-12-08
last = 2025-12-09
daily_mean = 1.4
fraud_rate = 0.15

[training]
trees = 20

[money]
currency = "USD"
per_eur = "1.0503"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scenario") / "bad-days.toml"
    file.write_text(SMALL, encoding="utf-8")
    return file


def run(capsys: Captured, *arguments: str | Path) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["scenario", "run", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == ExitCode.OK, captured.err
    told: dict[str, Any] = json.loads(captured.out)
    return told


def test_two_runs_with_different_threads_tell_the_same_to_the_cent(
    small: Path, tmp_path: Path, capsys: Captured
) -> None:
    kept = tmp_path / "model"
    first = run(capsys, small, "--threads", "1", "--keep-bundle", kept)
    assert run(capsys, small, "--threads", "3") == first
    # The model that was kept, as one's own.
    assert run(capsys, small, "--threads", "2", "--bundle", kept) == first
    assert run(capsys, small, "--bundle", kept, "--seed", "4")["whole"] != first["whole"]
    assert first["whole"]["caught"] > 0
    assert first["currency"] == "USD"


def test_parts_add_up_to_the_whole_and_nothing_was_learned_from_the_played_days(
    small: Path, tmp_path: Path
) -> None:
    _, plan = load_plan(str(small))
    result = play(plan, keep=tmp_path / "model")
    history = generate_world(plan)
    played = history.filter(pl.col("event_time") >= plan.cut)
    whole = result.whole
    assert (result.learned, whole.transactions) == (history.height - played.height, played.height)
    assert list(result.by_day) == [date(2025, 12, 5) + timedelta(days=day) for day in range(6)]
    for field in fields(Outcome):
        assert sum(getattr(each, field.name) for each in result.by_day.values()) == getattr(whole, field.name)
    for name in ("frauds", "caught", "blocked", "at_stake_minor", "stopped_minor", "blocked_minor"):
        kinds = sum(getattr(each, name) for each in result.by_typology.values())
        assert kinds == getattr(whole, name), name
    frauds = played.filter(pl.col("is_fraud") == 1)
    assert whole.frauds == frauds.height
    assert whole.at_stake_minor == sum((cents * 10_503 + 5_000) // 10_000 for cents in frauds["amount_minor"])
    assert whole.stopped_minor + whole.missed_minor == whole.at_stake_minor
    windows = Bundle.load(tmp_path / "model").content["windows"]
    assert windows["train_until"] == plan.cut.isoformat()
    assert windows["final"]["last"] < plan.cut.isoformat()


def test_a_burst_adds_to_the_days_it_names_and_to_no_other(small: Path) -> None:
    _, plan = load_plan(str(small))
    world, plain = generate_world(plan, threads=1), generate(plan.synthetic())
    assert world.equals(generate_world(plan, threads=3))
    assert world["transaction_id"].is_unique().all()
    burst = pl.col("event_time").dt.date().is_between(date(2025, 12, 8), date(2025, 12, 9))
    assert world.filter(~burst).equals(plain.filter(~burst))
    hot, usual = world.filter(burst), plain.filter(burst)
    fraud = pl.col("is_fraud") == 1
    same = ["event_time", "customer_id", "merchant_id", "amount_minor", "typology"]
    assert usual.filter(fraud).join(hot.filter(fraud), on=same, how="anti").height == 0
    assert hot.filter(fraud).height > 3 * usual.filter(fraud).height
    assert hot.filter(~fraud).height > 1.5 * usual.filter(~fraud).height


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("play_days = 40", "play_days is 40, must be below the world's 40"),
        ("colour = 1\nplay_days = 6", "colour: Extra inputs are not permitted"),
        ("play_days = [", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, changed: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SMALL.replace("play_days = 6", changed), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_plan(str(file))


def test_bursts_lie_within_the_world_and_apart(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SMALL.replace("last = 2025-12-09", "last = 2025-12-11"), encoding="utf-8")
    with pytest.raises(ConfigError, match="is not within 2025-11-01 to 2025-12-10"):
        load_plan(str(file))
    again = "[[bursts]]\nfirst = 2025-12-09\nlast = 2025-12-10\nfraud_rate = 0.1\n"
    file.write_text(SMALL + again, encoding="utf-8")
    with pytest.raises(ConfigError, match="2025-12-09 is in two bursts"):
        load_plan(str(file))


def test_an_unknown_scenario_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'weekend' is neither a scenario .*holiday-weekend"):
        load_plan("weekend")
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        load_plan("none.toml")


def test_those_of_the_package_are_listed(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scenario", "list", "--json"])
    assert ended.value.code == ExitCode.OK
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(built_in())
    assert "holiday-weekend" in listed


def test_people_get_tables(small: Path, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scenario", "run", str(small)])
    assert ended.value.code == ExitCode.OK
    told = capsys.readouterr().out
    for words in ("Two bad days", "money at stake", "By kind of fraud", "By day, money in USD", "08 Dec"):
        assert words in told
