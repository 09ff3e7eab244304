"""Whether every part keeps up: the stream, the two stores, and the writers between them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fraudengine.dashboard import reads
from fraudengine.dashboard.text import ago, count
from fraudengine.errors import ConfigError, StoreError, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraudengine.stores import Writer

__all__ = ["Part", "State", "lag_of", "parts"]

_BEHIND_RECORDS = 50_000
"""A writer that has more decisions before it than this is behind: half a second of full load."""


class State(StrEnum):
    """How a part is."""

    GOOD = "good"
    BEHIND = "behind"
    AWAY = "away"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the whole: how it is, in one word and in one line."""

    name: str
    state: State
    line: str
    lag: int | None = None
    """Records it has before it; `None`: nobody tells."""


def parts() -> list[Part]:
    """Return every part that the settings switch on."""
    stream, told = _stream()
    sinks = told.get("sinks", {}) if told else {}
    return [
        stream,
        _store("PostgreSQL", lambda: _only(reads.writers(), "postgres"), sinks.get("postgres")),
        _store("Redis", lambda: reads.stats(1).writer, sinks.get("redis")),
    ]


def lag_of(told: dict[str, Any] | None) -> int | None:
    """Return how many records the stream has before it; `None`: nobody tells."""
    lag = told.get("lag") if told else None
    return int(lag) if lag is not None else None


def _stream() -> tuple[Part, dict[str, Any] | None]:
    try:
        told = reads.stream_status()
    except StreamError as error:
        return Part("Stream", State.AWAY, str(error)), None
    if told is None:
        return Part("Stream", State.OFF, "dashboard.stream is not set"), None
    lag = lag_of(told)
    running = told["phase"] == "running"
    state = (
        State.AWAY
        if told["error"]
        else State.GOOD
        if running and (lag or 0) <= _BEHIND_RECORDS
        else State.BEHIND
    )
    line = str(told["error"] or told["phase"]) + ("" if lag is None else f", {count(lag)} behind")
    return Part("Stream", state, line, lag), told


def _store(name: str, writer: Callable[[], Writer | None], sink: dict[str, Any] | None) -> Part:
    try:
        found = writer()
    except StoreError:
        return Part(name, State.AWAY, "cannot be read")
    except ConfigError as error:
        return Part(name, State.OFF, str(error))
    if found is None:
        return Part(name, State.GOOD, "answers; nothing was written yet")
    written = f"last written {ago(time.time() - found.updated_micros / 1e6)}"
    if sink is None:
        return Part(name, State.GOOD, written)
    lag = int(sink["lag"])
    behind = lag > _BEHIND_RECORDS or bool(sink["error"])
    error_text = f", {sink['error']}" if sink["error"] else ""
    line = f"{count(lag)} behind, {written}{error_text}"
    return Part(name, State.BEHIND if behind else State.GOOD, line, lag)


def _only(writers: tuple[Writer, ...], name: str) -> Writer | None:
    return next((each for each in writers if each.name == name), None)
