"""docker-compose.yml as Compose would read it, its commands mapped to this machine instead of containers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from fraudengine import services

__all__ = ["COMPOSE", "ROOT", "Outside", "composed"]

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
FRAUDENGINE = Path(sys.executable).with_name("fraudengine")


def composed(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its variables replaced; a variable that must be set and is not fails the test."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if environment.get(name):
            return environment[name]
        assert kind == "-", f"{name}: {rest}"
        return str(rest)

    found: dict[str, Any] = YAML(typ="safe").load(_VARIABLE.sub(value, COMPOSE.read_text(encoding="utf-8")))
    return found


@dataclass
class Outside:
    """Runs services of the file as processes on this machine.

    Attributes
    ----------
    file
        As `composed` returns it.
    stack
        Stands for the containers of Kafka, PostgreSQL and Redis.
    folder
        Stands for the volumes: each has a folder of its name there; `./models` is `models`.
    ports
        A free port for each `SERVICE:PORT` of our services.
    postgres_password
        What stands in the file.

    """

    file: dict[str, Any]
    stack: services.Stack
    folder: Path
    ports: Mapping[str, int]
    postgres_password: str

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service with its command and its environment; what it says goes to `NAME.log`."""
        service = self.file["services"][name]
        for volume in self._volumes(name).values():
            volume.mkdir(parents=True, exist_ok=True)
        arguments = [str(FRAUDENGINE), *(self._outside(name, each) for each in service["command"])]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                arguments, cwd=self.folder, env=self.environment(name), stdout=log, stderr=subprocess.STDOUT
            )

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service; a port that is a default there is a free one here."""
        told = self.file["services"][name].get("environment", {})
        mapped = {key: self._outside(name, value) for key, value in told.items()}
        usual = {"serve": ("SERVE__PORT", 50051), "dashboard": ("DASHBOARD__PORT", 8501)}
        if name in usual:
            key, port = usual[name]
            mapped[f"FRAUDENGINE_{key}"] = str(self.ports[f"{name}:{port}"])
        # Nothing may be written outside the volumes: there is no home in the image.
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder / "nonexistent"), **mapped}

    def health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the health check of a service once."""
        kind, program, *arguments = self.file["services"][name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "fraudengine")
        command = [str(FRAUDENGINE), *(self._outside(name, each) for each in arguments)]
        return subprocess.run(
            command, env=self.environment(name), capture_output=True, text=True, check=False, timeout=60
        )

    def _volumes(self, name: str) -> dict[str, Path]:
        pairs = (volume.split(":") for volume in self.file["services"][name].get("volumes", []))
        return {target: self.folder / source.lstrip("./") for source, target, *_ in pairs}

    def _outside(self, name: str, text: str) -> str:
        """Map addresses, ports and folders of the containers to those of this machine."""
        url = f"postgresql://fraudengine:{self.postgres_password}@postgres:5432/fraudengine"
        for inside, outside in (
            (url, self.stack.postgres_url),
            ("redis://redis:6379/0", self.stack.redis_url),
            ("kafka:19092", self.stack.kafka_brokers),
        ):
            text = text.replace(inside, outside)
        for place, port in self.ports.items():
            service, inside = place.split(":")
            text = text.replace(f"//{place}", f"//127.0.0.1:{port}")
            if service == name:
                text = re.sub(rf"(^|127\.0\.0\.1:){inside}\b", rf"\g<1>{port}", text)
        for target, volume in self._volumes(name).items():
            text = re.sub(rf"^{target}(?=/|$)", str(volume), text)
        return text
