"""Load on a running scoring service, and how it answered: exact percentiles from the intended send time."""

from __future__ import annotations

from fraudengine.loadtest.plan import Plan
from fraudengine.loadtest.running import run
from fraudengine.loadtest.summary import Summary

__all__ = ["Plan", "Summary", "run"]
