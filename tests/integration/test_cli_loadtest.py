"""`fraudengine loadtest` against real servers: closed and open loop, batches, services that do not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scoring_proxy import proxied
from scoring_server import running
from small_bundle import small_bundle
from small_history import small_history

from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.client.connection import Connection
from fraudengine.loadtest import Plan
from fraudengine.loadtest import run as run_plan
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
        main(["loadtest", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def loaded(capsys: Captured, *arguments: str | Path) -> dict[str, Any]:
    assert run(*arguments, "--json") == ExitCode.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_closed_loop_by_two_threads(server: ScoringServer, capsys: Captured) -> None:
    arguments = ["--address", server.address, "--requests", "301", "--concurrency", "9", "--threads", "2"]
    told = loaded(capsys, *arguments)
    assert told["statuses"] == {"OK": 301}
    assert sum(told["decided"].values()) == 301
    assert (told["loop"], told["repeated"], told["refused"]) == ("closed", 0, 0)
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99.99"] <= told["latency_ms"]["max"]


def test_batches_and_files(server: ScoringServer, capsys: Captured, tmp_path: Path) -> None:
    out, plot = tmp_path / "result.json", tmp_path / "latency.svg"
    arguments = ["--address", server.address, "--requests", "6", "--concurrency", "2", "--batch", "50"]
    told = loaded(capsys, *arguments, "--out", out, "--plot", plot)
    assert sum(told["decided"].values()) == 300
    assert json.loads(out.read_text()) == told
    assert plot.read_text().startswith("<svg")
    assert run(*arguments, "--plot", tmp_path / "latency.png") == ExitCode.USAGE


def test_an_open_loop_as_a_table(server: ScoringServer, capsys: Captured) -> None:
    assert run("--address", server.address, "--rate", "200", "--seconds", "1") == ExitCode.OK
    shown = capsys.readouterr().out
    for said in ("Open loop", "OK 200", "p99.99", "sent late by"):
        assert said in shown


def test_a_call_that_waits_in_vain_is_measured_from_its_time(server: ScoringServer) -> None:
    # The proxy has four threads: calls that it holds keep all others waiting until they time out.
    with proxied(server.address, "hold", "hold", "hold", "hold") as proxy:
        service = Connection(address=proxy.address, timeout_seconds=0.5, retries=0)
        told = run_plan(Plan(connection=service, calls=20, rate=20.0, warmup_calls=0)).as_dict()
    assert told["statuses"]["DEADLINE_EXCEEDED"] >= 4
    assert told["latency_ms"]["max"] >= 500.0
    assert sum(told["statuses"].values()) == 20


def test_no_service_is_one_line(capsys: Captured) -> None:
    assert run("--address", "127.0.0.1:1", "--timeout", "0.2") == ExitCode.FAILED
    assert capsys.readouterr().err == "error: 127.0.0.1:1 does not answer\n"
