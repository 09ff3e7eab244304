"""`fraudengine up` and `down` as commands: detached, in the foreground, interrupted, and when a service ends.

They run Redis alone, which starts at once; the others are given an address that nobody asks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fraudengine import services
from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.services.processes import Process, wait_until

DEADLINE_SECONDS = 60.0
MAIN = "from fraudengine.cli import main; main()"
ONLY_REDIS = ("--set", "kafka.brokers=elsewhere:9092", "--set", "postgres.enabled=false")
Captured = pytest.CaptureFixture[str]


def run(command: str, folder: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([command, "--folder", str(folder), *arguments])
    return int(str(ended.value.code))


def foreground(folder: Path) -> subprocess.Popen[str]:
    """Start `fraudengine up` in a process of its own and return when Redis runs."""
    command = [sys.executable, "-c", MAIN, "up", "--folder", str(folder), *ONLY_REDIS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "running until Ctrl-C" in line:
            return process
    raise AssertionError("it has ended without starting redis")


def the_process(folder: Path) -> Process:
    found: list[Process] = []

    def known() -> bool:
        running = services.running(folder)
        found.extend([running.services["redis"].process] if running else [])
        return bool(found)

    assert wait_until(known, DEADLINE_SECONDS)
    return found[0]


def test_detached_services_stay_until_down(services_folder: Path, capsys: Captured) -> None:
    assert run("up", services_folder, "--detach", "--json", *ONLY_REDIS) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(services_folder)
    assert set(told) == {"folder", "redis"}
    assert told["redis"]["started"]
    process = Process.of(told["redis"]["pid"])
    assert process is not None
    assert run("up", services_folder, *ONLY_REDIS) == ExitCode.OK
    assert "ran already" in capsys.readouterr().out
    assert process.alive()
    assert run("down", services_folder, "--json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"folder": str(services_folder), "stopped": ["redis"]}
    assert not process.alive()
    assert run("down", services_folder) == ExitCode.OK
    assert "nothing runs" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_they_end_with_the_command(services_folder: Path, number: signal.Signals) -> None:
    command = foreground(services_folder)
    process = the_process(services_folder)
    command.send_signal(number)
    _, said = command.communicate(timeout=DEADLINE_SECONDS)
    assert command.returncode == ExitCode.OK, said
    assert "stopped: redis; data is kept" in said
    assert not process.alive()


def test_in_the_foreground_a_service_that_ends_is_told(services_folder: Path) -> None:
    command = foreground(services_folder)
    os.kill(the_process(services_folder).pid, signal.SIGKILL)
    _, said = command.communicate(timeout=DEADLINE_SECONDS)
    assert command.returncode == ExitCode.FAILED
    assert "redis (process" in said
    assert "has ended; its log:" in said


def test_with_addresses_for_all_there_is_nothing_to_start(services_folder: Path, capsys: Captured) -> None:
    elsewhere = [*ONLY_REDIS, "--set", "redis.url=redis://elsewhere:6379"]
    assert run("up", services_folder, *elsewhere, "--json") == ExitCode.OK
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {}
    assert "nothing to start" in captured.err
    assert not services_folder.exists()
