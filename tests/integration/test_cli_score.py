"""`fraudengine score` against a running service: a table, JSON lines, standard input, exit codes."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scoring_server import running
from small_bundle import small_bundle
from small_history import small_history

from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.serving import ScoringServer
from fraudengine.training import BoosterOptions, ForestOptions

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServer]:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    bundle = small_bundle(small_history(), tmp_path_factory.mktemp("b") / "model", booster, forest)
    with running(bundle) as started:
        yield started


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def payment(name: str, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1_000
    least = {"transaction_id": name, "event_time": now, "customer_id": f"c-{name}"}
    return {**least, "amount": 19.99, "currency": "EUR", **fields}


def test_a_file_becomes_a_table(server: ScoringServer, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "tx.json"
    file.write_text(json.dumps(payment("table", is_fraud=1), indent=2))
    assert run("--file", file, "--address", server.address) == ExitCode.OK
    captured = capsys.readouterr()
    assert "table" in captured.out
    assert "approve" in captured.out
    assert "1 approve" in captured.err


def test_lines_become_lines_and_a_refusal_fails(
    server: ScoringServer, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "tx.jsonl"
    rows = [payment("l0"), payment("l1", amount=19.999), payment("l2", country="Germany"), payment("l3")]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    assert run("--file", file, "--address", server.address, "--json") == ExitCode.FAILED
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["transaction_id"] for each in told] == ["l0", "l1", "l2", "l3"]
    assert [each.get("action", each.get("refused", {}).get("field")) for each in told] == [
        *("approve", "amount", "country", "approve")
    ]
    assert run("--file", file, "--address", server.address) == ExitCode.FAILED
    captured = capsys.readouterr()
    assert "repeated id" in captured.out
    assert "2 refused" in captured.err


def test_standard_input_and_the_configured_address(
    server: ScoringServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([payment("i0"), payment("i1")])))
    port = server.address.rpartition(":")[2]
    assert run("--file", "-", "--set", f"serve.port={port}", "--json") == ExitCode.OK
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_no_service_and_no_file_are_one_line(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "tx.json"
    assert run("--file", file, "--address", "127.0.0.1:1") == ExitCode.FAILED
    assert "tx.json cannot be read: No such file" in capsys.readouterr().err
    file.write_text(json.dumps(payment("never")))
    assert run("--file", file, "--address", "127.0.0.1:1", "--timeout", "0.2") == ExitCode.FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: DEADLINE_EXCEEDED")
    assert captured.err.count("\n") == 1
