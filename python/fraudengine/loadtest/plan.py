"""What load to send."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from fraudengine.client.batches import check_batch
from fraudengine.client.connection import Connection
from fraudengine.errors import ConfigError

__all__ = ["CALLS_MAX", "THREADS_MAX", "Plan"]

CALLS_MAX: Final = 50_000_000
"""Most calls of one run: every latency is kept, 16 bytes a call."""

THREADS_MAX: Final = 64


def _threads() -> int:
    return max(1, min(4, (os.cpu_count() or 1) // 2))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One load test.

    Attributes
    ----------
    connection
        The service, its address `HOST:PORT`; its `timeout_seconds` is the deadline of every call. Nothing is
        tried again.
    calls
        Calls in all, 1 to 50,000,000.
    concurrency
        Closed loop: calls under way at any time, 1 to 10,000; each is followed by the next at once.
    rate
        Open loop: calls begun in a second, above 0, evenly spaced, whether or not others are answered. None:
        closed loop.
    batch
        Transactions of a call by `ScoreBatch`, 1 to 4,096; 0: one by `Score`.
    seed
        Of the synthetic transactions.
    threads
        Threads that send, 1 to 64, each on a connection of its own; half of the processors and at most 4
        unless told.
    warmup_calls
        Calls of each thread that are made before, as many under way as in the test, and not counted.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    connection: Connection
    calls: int
    concurrency: int = 200
    rate: float | None = None
    batch: int = 0
    seed: int = 1
    threads: int = field(default_factory=_threads)
    warmup_calls: int = 200

    def __post_init__(self) -> None:
        """Check the values."""
        ranges = {
            "calls": (1, CALLS_MAX),
            "concurrency": (1, 10_000),
            "threads": (1, THREADS_MAX),
            "warmup_calls": (0, 1_000_000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, must be {low} to {high:,}")
        if self.rate is not None and not 0 < self.rate <= 1e6:
            raise ConfigError(f"rate is {self.rate}, must be above 0 and at most 1,000,000")
        if self.batch:
            check_batch(self.batch)
