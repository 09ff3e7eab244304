"""Real-time fraud detection: train in Python, decide in native code, one feature path for both."""

from __future__ import annotations

from fraudengine._native import __version__
from fraudengine.engine import Action, Decisions, Engine, Flag

__all__ = ["Action", "Decisions", "Engine", "Flag", "__version__"]
