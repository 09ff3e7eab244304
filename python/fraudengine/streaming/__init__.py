"""The live stream as a process: settings and model in, native threads running, a door for operators.

Python starts, watches and stops; no transaction passes through the interpreter.
"""

from __future__ import annotations

from fraudengine.streaming.models import ActiveModels
from fraudengine.streaming.process import StreamProcess

__all__ = ["ActiveModels", "StreamProcess"]
