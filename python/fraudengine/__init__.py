"""Real-time fraud detection: train in Python, decide in native code, one feature path for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fraudengine._native import __version__
from fraudengine.engine import Action, Decisions, Engine, Flag

if TYPE_CHECKING:
    from fraudengine.client import AsyncClient, Client

__all__ = ["Action", "AsyncClient", "Client", "Decisions", "Engine", "Flag", "__version__"]


def __getattr__(name: str) -> object:
    # Only who calls the scoring service pays for gRPC.
    if name in {"AsyncClient", "Client"}:
        from fraudengine import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
