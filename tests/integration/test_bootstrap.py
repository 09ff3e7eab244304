"""`scripts/bootstrap_demo.sh` without a container engine: what it asks for, writes, keeps; in which order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compose_file import ROOT

from fraudengine.bundle import Bundle

SCRIPT = ROOT / "scripts/bootstrap_demo.sh"
STAND_IN = ROOT / "tests/support/docker_stand_in.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the script, and with programs of its own first in the path."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "scripts")
    (tmp_path / "bin").mkdir()
    return folder


def run(checkout: Path, path: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(checkout / "scripts" / SCRIPT.name)]
    environment = {"PATH": path, "HOME": str(checkout), **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def with_docker(checkout: Path) -> tuple[str, Path]:
    """Return a path with a stand-in for docker in it, and the file that has its calls."""
    notes = checkout.parent / "calls"
    program = checkout.parent / "bin" / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "{notes}" "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}", notes


def test_without_docker_it_says_what_to_do(checkout: Path) -> None:
    for name in ("sh", "dirname", "id"):
        (checkout.parent / "bin" / name).symlink_to(shutil.which(name) or name)
    done = run(checkout, str(checkout.parent / "bin"))
    assert done.returncode == 1
    assert "docker not found" in done.stderr
    assert "make demo" in done.stderr
    assert not (checkout / ".env").exists()


def test_it_writes_passwords_trains_a_model_and_brings_everything_up(checkout: Path) -> None:
    path, notes = with_docker(checkout)
    small = {"GENERATOR_CUSTOMERS": "300", "GENERATOR_SKIP_DAYS": "20"}
    done = run(checkout, path, **small)
    assert done.returncode == 0, done.stderr
    secrets = (checkout / ".env").read_text().splitlines()
    values = dict(line.split("=") for line in secrets)
    assert set(values) == {"POSTGRES_PASSWORD", "DASHBOARD_PASSWORD", "GRAFANA_PASSWORD"}
    assert len({*values.values()}) == 3
    assert all(len(value) == 36 for value in values.values())
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    Bundle.load(checkout / "models/active")
    assert not (checkout / "models/history.parquet").exists()
    calls = [json.loads(line) for line in notes.read_text().splitlines()]
    assert [call[1] for call in calls if call[0] == "compose"] == [
        "version",
        "build",
        "run",
        "run",
        "--profile",
    ]
    assert calls[-1] == ["compose", "--profile", "demo", "up", "--detach", "--wait"]
    assert "http://127.0.0.1:8501" in done.stdout
    # Again: nothing that is there is made anew.
    notes.unlink()
    assert run(checkout, path, **small).returncode == 0
    assert (checkout / ".env").read_text().splitlines() == secrets
    assert '"run"' not in notes.read_text()


def test_shellcheck_finds_nothing() -> None:
    if (linter := shutil.which("shellcheck")) is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([linter, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
