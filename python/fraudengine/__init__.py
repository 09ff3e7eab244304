"""Real-time fraud detection: train in Python, decide in native code, one feature path for both."""

from __future__ import annotations

from fraudengine._native import __version__

__all__ = ["__version__"]
