"""The commands that start long jobs hand over what was typed: options, durations, moments, histories.

The jobs themselves are replaced; they have tests of their own.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest

from fraudengine.cli import main

ROWS = (
    "transaction_id,event_time,customer_id,amount,shop\n"
    "late,2024-01-02T00:00:00Z,c,2.00,m\nearly,2024-01-01T00:00:00Z,c,1.00,m\n"
)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_text(ROWS)
    return path


def replace_module(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    for member, value in members.items():
        setattr(module, member, value)
    monkeypatch.setitem(sys.modules, name, module)


def run(*arguments: str | Path) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_train_hands_over_the_recipe_and_prints_the_manifest(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def train(
        frame: pl.DataFrame, options: SimpleNamespace, *, out: Path, progress: Any, replace: bool
    ) -> None:
        seen.update(frame=frame, options=options, replace=replace)
        progress("fit", 1, 2)
        out.mkdir()
        (out / "manifest.json").write_text('{"hash": "abc"}')

    replace_module(monkeypatch, "fraudengine.training", TrainOptions=SimpleNamespace, train=train)
    out = tmp_path / "model"
    typed = [
        "--map",
        "merchant_id=shop",
        "--label-delay",
        "7d",
        "--train-until",
        "2024-01-02",
        "--train-span",
        "36h",
    ]
    assert run("train", history, "--out", out, "--seed", "3", "--json", *typed) == 0
    assert seen["frame"]["transaction_id"].to_list() == ["early", "late"]
    assert seen["frame"]["merchant_id"].to_list() == ["m", "m"]
    options = seen["options"]
    assert (options.label_delay, options.train_span) == (dt.timedelta(days=7), dt.timedelta(hours=36))
    assert (options.train_until, options.seed) == (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), 3)
    assert json.loads(capsys.readouterr().out) == {"hash": "abc"}


def test_replay_hands_over_the_delay_and_prints_the_summary(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def replay(bundle: Path, history: Any, **options: Any) -> SimpleNamespace:
        seen.update(options, bundle=bundle, rows=history.frame.height)
        options["progress"]("replay", 2, 2)
        actions = {"approve": 1, "review": 1, "block": 0}
        return SimpleNamespace(decisions=history.frame, actions=actions, repeated=0, rejected=1)

    replace_module(monkeypatch, "fraudengine.replay", replay=replay)
    typed = ["--label-delay", "1h", "--from", "2024-01-02T01:00+01:00", "--threads", "2"]
    assert run("replay", "model", history, "--out", tmp_path / "d.parquet", "--json", *typed) == 0
    assert (seen["label_delay"], seen["threads"], seen["rows"]) == (dt.timedelta(hours=1), 2, 2)
    assert seen["start"] == dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["decisions"], summary["approve"], summary["rejected"]) == (2, 1, 1)
    assert "1 rows broke a limit" in told.err


def test_compile_names_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compile_bundle(bundle: Path, progress: Any) -> SimpleNamespace:
        progress("compile", 1, 1)
        return SimpleNamespace(libraries={"booster": bundle / "b.so"}, record={"target": "here"})

    replace_module(monkeypatch, "fraudengine.training.compile_bundle", compile_bundle=compile_bundle)
    replace_module(monkeypatch, "fraudengine.training")
    assert run("compile", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["libraries"] == {"booster": str(tmp_path / "b.so")}


def test_a_moment_that_is_none_is_refused(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", "model", history, "--out", "d.parquet", "--from", "tomorrow") == 2
    assert "is not a moment" in capsys.readouterr().err
