"""The engine from Python: its bound in bytes, and which labels it takes."""

from __future__ import annotations

import polars as pl
import pytest

from fraudengine import features
from fraudengine.config import load
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.engine import Engine
from fraudengine.errors import ConfigError

LEAST = 128 << 20


def test_a_bound_in_bytes_is_kept_and_changed_with_a_snapshot() -> None:
    history = generate(SyntheticConfig(customers=200_000, merchants=5_000, days=2))
    free = Engine(memory_max_bytes=0)
    bounded = Engine(memory_max_bytes=LEAST)
    for engine in (free, bounded):
        engine.process(history)
    needed = free.stats()["tables"]
    held = bounded.stats()["tables"]
    shares = {"customer": 8, "card": 6, "device": 3, "merchant": 3, "ip": 2}
    assert all(table["evicted"] == 0 for table in needed.values())
    for kind, share in shares.items():
        assert held[kind]["bytes"] <= LEAST // 32 * share
        assert held[kind]["entities"] + held[kind]["evicted"] >= needed[kind]["entities"]
    assert held["customer"]["evicted"] > 1_000
    again = Engine.restore(free.snapshot(), memory_max_bytes=LEAST).stats()["tables"]
    for kind, share in shares.items():
        assert again[kind]["bytes"] <= LEAST // 32 * share
        assert again[kind]["entities"] + again[kind]["evicted"] == needed[kind]["entities"]
    assert Engine.restore(bounded.snapshot()).stats()["tables"] == held


def test_a_bound_too_small_for_one_customer_a_slab_is_refused() -> None:
    message = "memory_max_bytes is 1000000, must be 0 \\(no bound\\) or at least 134217728"
    with pytest.raises(ConfigError, match=message):
        Engine(memory_max_bytes=1_000_000)
    with pytest.raises(ConfigError, match=message):
        Engine.restore(Engine().snapshot(), memory_max_bytes=1_000_000)
    with pytest.raises(ConfigError, match=r"engine.memory_max_bytes.*1000000.*134,217,728"):
        load(flags={"engine.memory_max_bytes": 1_000_000})
    assert load(flags={"engine.memory_max_bytes": 0}).engine.memory_max_bytes == 0


def test_the_kind_of_fraud_is_checked_and_teaches_nothing() -> None:
    history = generate(SyntheticConfig(customers=200, days=10, fraud_rate=0.05))
    labels = features.labels_of(history)
    assert labels is not None
    named = Engine().process(history, labels)
    unnamed = Engine().process(history, labels.drop("typology"))
    assert named.rejected_labels == []
    assert (named.flags == unnamed.flags).all()
    wrong = labels.with_columns(typology=pl.lit("x" * 129))[:3]
    rejected = Engine().process(history, wrong).rejected_labels
    assert [(each.row, each.field, each.code) for each in rejected] == [
        (row, "typology", "too_long") for row in range(3)
    ]
