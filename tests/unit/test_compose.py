"""docker-compose.yml and Dockerfile, as far as they can be checked without a container engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from fraudengine.config import load

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))
    return found


def test_it_keeps_to_the_compose_specification() -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_our_variables_are_settings(composed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = composed["services"]["stream"]["environment"]
    for name, value in ours.items():
        monkeypatch.setenv(name, value.replace("${POSTGRES_PASSWORD}", "x"))
    settings = load()
    assert settings.embedded_wanted() == ()
    assert settings.kafka.brokers == "kafka:19092"


def test_ports_are_published_on_this_machine_only(composed: dict[str, Any]) -> None:
    published = [port for service in composed["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_volumes_and_dependencies_exist(composed: dict[str, Any]) -> None:
    for service in composed["services"].values():
        named = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert {name for name in named if not name.startswith((".", "/"))} <= set(composed["volumes"])
        assert set(service.get("depends_on", {})) <= set(composed["services"])


def test_the_image_copies_files_that_exist_and_are_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == let_through
    assert all((ROOT / name).exists() for name in names)
