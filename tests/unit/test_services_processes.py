"""Child processes: recognised by id and birth, stopped by signal or by force, their last words found."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from fraudengine.errors import ServiceError
from fraudengine.services.processes import Launch, Process, last_line, spawn, stop, wait_until

DEADLINE_SECONDS = 30.0
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def launch(folder: Path, *command: str) -> Launch:
    return Launch(command, folder / "child.log", folder, dict(os.environ))


def python(folder: Path, code: str) -> Launch:
    return launch(folder, sys.executable, "-c", code)


def test_a_child_is_in_a_session_of_its_own_and_speaks_into_its_log(tmp_path: Path) -> None:
    child = spawn(python(tmp_path, "print('hello', flush=True); import signal; signal.pause()"))
    assert child.alive()
    assert child == Process.of(child.pid)
    assert os.getsid(child.pid) == child.pid
    assert wait_until(lambda: last_line(tmp_path / "child.log") == "hello", DEADLINE_SECONDS)
    assert (child.resident_bytes() or 1) > 0
    assert stop(child, signal.SIGTERM, deadline_seconds=DEADLINE_SECONDS)
    assert not child.alive()
    assert Process.of(child.pid) is None


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = spawn(python(tmp_path, STUBBORN))
    assert wait_until(lambda: last_line(tmp_path / "child.log") == "ready", DEADLINE_SECONDS)
    assert not stop(child, signal.SIGTERM, deadline_seconds=0.2)
    assert not child.alive()


def test_one_that_has_ended_is_not_alive_and_stopping_it_is_nothing(tmp_path: Path) -> None:
    child = spawn(python(tmp_path, "print('bye'); print()"))
    assert wait_until(lambda: not child.alive(), DEADLINE_SECONDS)
    assert stop(child, signal.SIGTERM, deadline_seconds=1.0)
    assert last_line(tmp_path / "child.log") == "bye"


def test_an_id_that_was_given_away_is_another_process() -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.alive()
    impostor = Process(me.pid, "1")
    assert not impostor.alive()
    assert stop(impostor, signal.SIGKILL, deadline_seconds=1.0)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no-such-program cannot be run"):
        spawn(launch(tmp_path, str(tmp_path / "no-such-program")))


def test_a_large_log_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraudengine.services.processes._LOG_BYTES_MAX", 10)
    log = tmp_path / "child.log"
    log.write_text("words of an earlier run\n")
    child = spawn(python(tmp_path, "print('new')"))
    assert wait_until(lambda: not child.alive(), DEADLINE_SECONDS)
    assert log.read_text() == "new\n"
    assert (tmp_path / "child.log.old").read_text() == "words of an earlier run\n"
