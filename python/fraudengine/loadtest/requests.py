"""Requests without end: synthetic transactions, encoded before the test as far as they can be.

While it runs only id and time are put before the bytes of a transaction (fields of a message have no order),
so that the sender does not become the bottleneck. Ids are new in every run: one that the service knows would
cost it less.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import fields

from fraudengine.client.transaction import Transaction, to_message
from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches
from fraudengine.varint import varint

__all__ = ["pool", "requests"]

_POOL_MAX = 20_000
_NAMES = {field.name for field in fields(Transaction)}


def pool(seed: int, wanted: int) -> list[bytes]:
    """Return up to 20,000 encoded transactions without id and time; at least one."""
    most = max(1, min(wanted, _POOL_MAX))
    encoded: list[bytes] = []
    for frame in generate_batches(SyntheticConfig(seed=seed, days=30)):
        names = [name for name in frame.columns if name in _NAMES]
        for row in frame.select(names).head(most - len(encoded)).iter_rows(named=True):
            message = to_message(Transaction(**row))
            message.ClearField("transaction_id")
            message.ClearField("event_time_micros")
            encoded.append(message.SerializeToString())
        if len(encoded) >= most:
            break
    return encoded


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
