"""The settings and stores of the process that serves the dashboard, shared by all sessions.

The command line sets them before the first session. `streamlit run streamlit_app/app.py` works too: then
settings are those of the working folder.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fraudengine.config import load
from fraudengine.dashboard.access import Gate
from fraudengine.stores import BlockingStores
from fraudengine.verdicts import BlockingVerdicts

if TYPE_CHECKING:
    from fraudengine.config import Settings

__all__ = ["close", "configure", "gate", "settings", "stores", "verdicts"]

READ_SECONDS = 4.0
"""Longest time that one read of a store takes."""
VERDICT_SECONDS = 10.0
"""Longest time that a verdict takes."""

_lock = threading.Lock()
_settings: Settings | None = None
_gate: Gate | None = None
_stores: BlockingStores | None = None
_verdicts: BlockingVerdicts | None = None


def configure(wanted: Settings) -> None:
    """Use these settings from now on; sessions and connections of earlier ones end."""
    global _settings, _gate
    close()
    with _lock:
        _settings, _gate = wanted, Gate(wanted.dashboard)


def settings() -> Settings:
    """Return the effective settings."""
    global _settings
    with _lock:
        if _settings is None:
            _settings = load()
        return _settings


def gate() -> Gate:
    """Return what knows who may look."""
    global _gate
    told = settings()
    with _lock:
        if _gate is None:
            _gate = Gate(told.dashboard)
        return _gate


def stores() -> BlockingStores:
    """Return what reads PostgreSQL and Redis; safe to use from every session."""
    global _stores
    told = settings()
    with _lock:
        if _stores is None:
            _stores = BlockingStores(told, seconds=READ_SECONDS)
        return _stores


def verdicts() -> BlockingVerdicts:
    """Return what takes verdicts; safe to use from every session. Kafka is connected by the first one."""
    global _verdicts
    told, read = settings(), stores()
    with _lock:
        if _verdicts is None:
            _verdicts = BlockingVerdicts(told, read, seconds=VERDICT_SECONDS)
        return _verdicts


def close() -> None:
    """Close the connections; they are made anew when somebody reads."""
    global _stores, _verdicts
    with _lock:
        before, _stores = _stores, None
        taken, _verdicts = _verdicts, None
    if taken is not None:
        taken.close()
    if before is not None:
        before.close()
