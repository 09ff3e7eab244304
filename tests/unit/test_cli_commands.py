"""The command line: exit codes, one-line errors, JSON on standard output, and the shared reading options."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl
import pytest

from fraudengine.cli import main
from fraudengine.cli.console import print_table
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.features import catalogue

HEADER = "transaction_id,event_time,customer_id,amount_minor,merchant_id,channel,is_fraud\n"
GOOD = "t1,2024-01-01T00:00:00Z,c1,100,m1,ecommerce,0\n"
COMMANDS = [
    *("demo", "generate", "validate", "features", "train", "compile", "replay", "evaluate", "inspect"),
    *("up", "down", "config", "score", "loadtest", "alerts"),
]
READING = ["validate", "features", "train", "replay", "evaluate"]

Captured = pytest.CaptureFixture[str]


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_text(
        HEADER + GOOD + "t2,2024-01-01T00:00:01Z,c1,-1,m1,atm,1\nt3,2024-01-01T00:00:02Z,c1,5,m1,fax,1\n"
    )
    return path


def test_validate_counts_and_lists_what_reader_and_engine_refuse(history: Path, capsys: Captured) -> None:
    assert run("validate", history, "--json") == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["rows_read"], report["rows_accepted"], report["rows_rejected"]) == (3, 1, 2)
    assert [(line["row"], line["field"], line["value"]) for line in report["rejections"]] == [
        (2, "amount_minor", "-1"),
        (3, "channel", "fax"),
    ]
    assert report["frauds"] == 1


def test_validate_prints_a_table_and_writes_the_refused_values(
    history: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert run("validate", history, "--rejected", tmp_path / "bad.csv") == ExitCode.OK
    assert "must not be negative" in capsys.readouterr().out
    assert pl.read_csv(tmp_path / "bad.csv")["row"].to_list() == [2, 3]


def test_validate_fails_only_when_asked_or_when_nothing_is_left(history: Path, tmp_path: Path) -> None:
    assert run("validate", history, "--strict") == ExitCode.FAILED
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "t2,2024-01-01T00:00:01Z,c1,-1,m1,atm,1\n")
    assert run("validate", path) == ExitCode.FAILED


def test_an_error_is_one_line_on_standard_error(tmp_path: Path, capsys: Captured) -> None:
    assert run("validate", tmp_path / "nothing.csv") == ExitCode.FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "does not exist" in captured.err


def test_debug_raises_the_error_itself(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="does not exist"):
        main(["--debug", "validate", str(tmp_path / "nothing.csv")])
    with pytest.raises(Exception, match="does not exist"):
        main(["validate", str(tmp_path / "nothing.csv"), "--debug"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validat"], "No such command"),
        (["validate"], "Missing argument"),
        (["validate", "x.csv", "--map", "nonsense"], "canonical=source"),
        (["validate", "x.csv", "--map", "colour=x"], "is not a column of the schema"),
        (["validate", "x.csv", "--label-delay", "7"], "is not a duration"),
        (["validate", "x.csv", "--preset", "nobody"], "known names: handbook"),
        (["validate", "x.csv", "--time-unit", "weeks"], "weeks"),
        (["validate", "x.csv", "--limit", "-1"], "--limit"),
        (["features", "x.csv"], "--out"),
        (["features", "--out", "x.csv"], "needs a history"),
        (["replay", "model"], "Missing argument"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], said: str, capsys: Captured) -> None:
    assert run(*arguments) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_unforeseen_error_has_its_own_code(
    history: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("fraudengine.cli.validate.read_history", broken)
    assert run("validate", history) == ExitCode.BUG
    assert capsys.readouterr().err == "unexpected ZeroDivisionError: division by zero (--debug shows where)\n"


def test_an_interrupt_has_its_own_code(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fraudengine.cli.validate.read_history", stopped)
    assert run("validate", history) == ExitCode.INTERRUPTED


def test_help_lists_every_command_and_the_exit_codes(capsys: Captured) -> None:
    assert run() == ExitCode.OK
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert "Exit codes" in text
    assert run("--version") == ExitCode.OK
    assert capsys.readouterr().out.startswith("fraudengine 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command: str, capsys: Captured) -> None:
    assert run(command, "--help") == ExitCode.OK
    text = capsys.readouterr().out
    assert "Examples" in text
    assert f"fraudengine {command}" in text
    assert ("--amount-unit" in text) == (command in READING)


def test_features_prints_the_catalogue(capsys: Captured) -> None:
    assert run("features", "--json") == ExitCode.OK
    catalogue = json.loads(capsys.readouterr().out)
    assert len(catalogue) >= 40
    assert set(catalogue[0]) == {"name", "entity", "group", "window", "unit", "meaning"}


def test_features_of_a_history_follow_its_time_order(history: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "features.parquet"
    history.write_text(HEADER + GOOD.replace("t1", "t9").replace("00:00:00", "01:00:00") + GOOD)
    assert run("features", history, "--out", out) == ExitCode.OK
    table = pl.read_parquet(out)
    assert table["transaction_id"].to_list() == ["t1", "t9"]
    assert "2 rows of" in capsys.readouterr().err


def test_inspect_prints_a_summary_and_the_manifest(tmp_path: Path, capsys: Captured) -> None:
    window = {"first": "2024-01-01T00:00:00+00:00", "last": "2024-01-31T23:00:00+00:00", "transactions": 1234}
    content = {
        "files": {"ensemble.bin": {"bytes": 5, "sha256": "ab" * 32}},
        "metrics": {"test": {"roc_auc": {"value": 0.91, "low": 0.9, "high": 0.92}, "actions": {}}},
        "policy": {"review_from": 0.25},
        "windows": {"final": window, "test": None},
    }
    manifest = {"bundle_hash": "cafe", "content": content}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert run("inspect", tmp_path, "--json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == manifest
    assert run("inspect", tmp_path) == ExitCode.OK
    printed = capsys.readouterr().out
    for said in ("cafe", "1,234 transactions", "0.91 (0.9 to 0.92)", "score 0.25", "abababababababab"):
        assert said in printed


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is no bundle"), ("{", "is not JSON"), ("[]", "no JSON object"), ("{}", "has no content")],
)
def test_inspect_refuses_what_is_no_bundle(
    tmp_path: Path, content: str | None, said: str, capsys: Captured
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    assert run("inspect", tmp_path) == ExitCode.FAILED
    assert said in capsys.readouterr().err


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> io.StringIO:
    # A terminal without colours, so that what is printed is text alone.
    for name, value in {"TERM": "dumb", "COLUMNS": str(columns), "LINES": "25"}.items():
        monkeypatch.setenv(name, value)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    return terminal


MEANING = "a sentence that is longer than any terminal, which would be folded there many times " * 20
TABLE = ("Features", ["name", "unit", "meaning"], [("customer_merchant_seen_30d", "count", MEANING)])


@pytest.mark.parametrize("colours", ["", "1"])
def test_a_row_in_a_pipe_is_one_line(colours: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", colours)
    print_table(*TABLE)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "customer_merchant_seen_30d" in line]
    assert MEANING.strip() in line


def test_a_value_of_several_lines_is_one_line_in_a_pipe(capsys: Captured) -> None:
    print_table("Messages", ["id", "error"], [(1234567, "refused\nby the other side"), (2, None)])
    assert "│ 1,234,567 │ refused by the other side │" in capsys.readouterr().out


def test_every_feature_can_be_found_in_a_pipe(capsys: Captured) -> None:
    assert run("features") == ExitCode.OK
    out = capsys.readouterr().out
    for name, meaning in catalogue().select("name", "meaning").iter_rows():
        assert any(f"│ {name} " in line and f" {meaning} " in line for line in out.splitlines())


def test_a_terminal_folds_all_but_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 60)
    print_table(*TABLE)
    lines = terminal.getvalue().splitlines()
    assert {len(line) for line in lines} == {60}
    assert sum("│ customer_merchant_seen_30d │ count │ a " in line for line in lines) == 1
    assert len(lines) > 20


def test_a_narrow_terminal_gets_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 44)
    print_table(*TABLE)
    lines = [line.strip() for line in terminal.getvalue().splitlines()]
    assert lines[:3] == ["Features", "name     customer_merchant_seen_30d", "unit     count"]
    assert max(map(len, lines)) <= 44


@pytest.mark.parametrize("columns", [30, 200])
def test_a_table_without_rows_is_printed(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = on_terminal(monkeypatch, columns)
    print_table("Nothing", ["name", "a header that is longer than the terminal"], [])
    assert "Nothing" in terminal.getvalue()
