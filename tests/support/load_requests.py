"""Requests without end from Python, for streams and single calls; `loadtest` makes its own natively."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from fraudengine.varint import varint

__all__ = ["requests"]


def requests(encoded: list[bytes], prefix: str, batch: int) -> Iterator[bytes]:
    """Yield a `ScoreRequest` each, or a `ScoreBatchRequest` of `batch` transactions; new ids, time of now."""
    parts = itertools.cycle(encoded)
    numbers = itertools.count()
    while True:
        moment = b"\x10" + varint(time.time_ns() // 1_000)
        yield b"".join(_one(next(parts), f"{prefix}-{next(numbers)}", moment) for _ in range(batch or 1))


def _one(part: bytes, name: str, moment: bytes) -> bytes:
    # `transaction` and `transactions` are both field 1.
    told = b"\x0a" + varint(len(name)) + name.encode() + moment + part
    return b"\x0a" + varint(len(told)) + told
