"""What a load test sends: synthetic transactions, encoded before it as far as they can be.

While it runs the native sender puts only id and time before the bytes of a transaction (fields of a message
have no order). Ids are new in every run: one that the service knows would cost it less.
"""

from __future__ import annotations

from dataclasses import fields

from fraudengine.client.transaction import Transaction, to_message
from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches

__all__ = ["pool"]

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
