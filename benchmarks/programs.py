"""Programs of fraudengine as processes of their own, over topics of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fraudengine import config
from fraudengine.services.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def fresh(name: str, brokers: str, state: Path, flags: Mapping[str, object] | None = None) -> config.Settings:
    """Make new topics named after `name`, and return settings over them; `flags` win."""
    own: dict[str, object] = {
        f"kafka.{topic}_topic": f"{name}-{topic.replace('_', '-')}"
        for topic in ("transactions", "labels", "decisions", "alerts", "dead_letter")
    }
    own |= {"kafka.group": name, "kafka.brokers": brokers, "state.folder": state}
    settings = config.load(flags={**own, **(flags or {})})
    create_topics(settings.kafka)
    return settings


def stream_flags(settings: config.Settings, *, databases: bool = False) -> dict[str, object]:
    """Return what a stream over these settings is told, by `SECTION.KEY`."""
    return {
        **{f"kafka.{key}": value for key, value in settings.kafka if key != "client"},
        "engine.threads": settings.engine.threads,
        "state.folder": settings.state.folder,
        "postgres.enabled": databases,
        "redis.enabled": databases,
        "http.port": 0,
        "log.level": "warn",
    }


def command(*arguments: object, flags: Mapping[str, Any] | None = None) -> list[str]:
    """Return the command that starts a program with these arguments and settings."""
    options = [part for key, value in (flags or {}).items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-c", "from fraudengine.cli import main; main()", *map(str, arguments), *options]
