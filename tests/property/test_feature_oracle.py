"""Every feature of the catalogue against the slow oracle, on random histories with labels."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from feature_oracle import CHANNELS, DAY, HOUR, Label, Oracle, Transaction

from fraudengine import features
from fraudengine.engine import Engine

START = 1_600_000_000_000_000


def random_history(seed: int, rows: int, late: float = 0.0) -> tuple[list[Transaction], list[Label]]:
    """Return a history in which a share of the transactions is late, half of them of entities seldom seen."""
    rng = random.Random(seed)
    now = newest = START
    history: list[Transaction] = []
    labels: list[Label] = []

    def maybe(kind: str, many: int, share: float) -> str | None:
        return f"{kind}{rng.randrange(many)}" if rng.random() < share else None

    for row in range(rows):
        now += 0 if rng.random() < 0.1 else int(rng.expovariate(1 / (3 * HOUR)))
        t = Transaction(
            id=f"t{row}",
            time=now,
            customer=f"c{rng.randrange(12)}",
            amount=rng.choice([0, 100, 1999, rng.randrange(50_000)]),
            card=maybe("k", 15, 0.8),
            device=maybe("d", 10, 0.7),
            merchant=maybe("m", 8, 0.9),
            ip=maybe("i", 9, 0.7),
            channel=rng.choice([None, *CHANNELS]),
            category=rng.choice([None, *range(4000, 4012)]),
            country=rng.choice([None, "FR", "DE", "US"]),
            place=(float(rng.randrange(40, 50)), float(rng.randrange(0, 10))) if rng.random() < 0.6 else None,
        )
        if late and history and rng.random() < late:
            t.time = newest - 2 * HOUR
            if rng.random() < 0.5:
                t.customer, t.device, t.merchant = (f"{kind}-new{row % 300}" for kind in "cdm")
        elif late and rng.random() < 0.3:
            t.customer, t.device, t.merchant = (f"{kind}-new{rng.randrange(300)}" for kind in "cdm")
        history.append(t)
        newest = max(newest, t.time)
        if rng.random() < (0.6 if t.time < newest else 0.15):
            known = now + rng.randrange(20 * DAY)
            labels.append(Label(t, known))
            if rng.random() < 0.3:
                labels.append(Label(t, known + rng.randrange(5 * DAY), fraud=rng.random() < 0.5))
    return history, sorted(labels, key=lambda label: label.known)


def frame(rows: list[Transaction]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "transaction_id": [t.id for t in rows],
            "event_time": pl.Series([t.time for t in rows]).cast(pl.Datetime("us", "UTC")),
            "customer_id": [t.customer for t in rows],
            "card_id": pl.Series([t.card for t in rows], dtype=pl.String),
            "device_id": pl.Series([t.device for t in rows], dtype=pl.String),
            "merchant_id": pl.Series([t.merchant for t in rows], dtype=pl.String),
            "ip_address": pl.Series([t.ip for t in rows], dtype=pl.String),
            "amount_minor": [t.amount for t in rows],
            "channel": pl.Series([t.channel for t in rows], dtype=pl.String),
            "merchant_category": pl.Series([t.category for t in rows], dtype=pl.Int32),
            "country": pl.Series([t.country for t in rows], dtype=pl.String),
            "latitude": pl.Series([t.place and t.place[0] for t in rows], dtype=pl.Float64),
            "longitude": pl.Series([t.place and t.place[1] for t in rows], dtype=pl.Float64),
        }
    )


def label_frame(labels: list[Label]) -> pl.DataFrame:
    return frame([label.transaction for label in labels]).with_columns(
        known_time=pl.Series([label.known for label in labels]).cast(pl.Datetime("us", "UTC")),
        is_fraud=pl.Series([int(label.fraud) for label in labels], dtype=pl.Int8),
    )


@pytest.mark.parametrize(("seed", "late"), [(0, 0.0), (1, 0.0), (2, 0.1), (3, 0.3)])
def test_every_feature_equals_the_oracle(seed: int, late: float) -> None:
    history, labels = random_history(seed, 1_200, late)
    matrix = features.build(frame(history), label_frame(labels))
    assert matrix.rejected == []
    oracle = Oracle(labels=labels)
    expected = np.full(matrix.values.shape, np.nan, dtype=np.float64)
    columns = {name: at for at, name in enumerate(matrix.names)}
    newest, on_time = START, np.ones(len(history), dtype=bool)
    for row, t in enumerate(history):
        newest = max(newest, t.time)
        # A late one enters no window, so the oracle never hears of it; its label counts all the same.
        on_time[row] = t.time >= newest - HOUR
        if on_time[row]:
            for name, value in oracle.decide(t).items():
                expected[row, columns[name]] = value
    assert bool(late) == (not on_time.all())
    values, expected = matrix.values[on_time], expected[on_time]
    for name, column in columns.items():
        # The same numbers in another order of operations: one rounding of float32, and the coordinates
        # of the usual place, which the engine keeps in float32.
        tolerance = 1e-3 if name == "customer_distance_home_km" else 3e-7
        np.testing.assert_allclose(
            values[:, column], expected[:, column], rtol=tolerance, atol=tolerance, err_msg=name
        )
        assert np.isfinite(expected[:, column]).sum() > 10, f"{name} is never set"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_batches_equal_the_whole(size: int) -> None:
    history, labels = random_history(9, 5_000)
    rows, verdicts = frame(history), label_frame(labels)
    whole = features.build(rows, verdicts).values
    engine = Engine(threads=2)
    parts = [
        engine.process(rows.slice(at, size), verdicts if at == 0 else None, features=True).features
        for at in range(0, rows.height, size)
    ]
    assert np.concatenate([part for part in parts if part is not None]).tobytes() == whole.tobytes()


def test_what_is_not_known_yet_changes_nothing() -> None:
    history, labels = random_history(5, 1_000)
    cut = history[600].time
    rows = frame(history)
    whole = features.build(rows, label_frame(labels)).values
    flipped = [Label(x.transaction, x.known, not x.fraud if x.known > cut else x.fraud) for x in labels]
    changed = features.build(rows, label_frame(flipped)).values
    before = sum(t.time <= cut for t in history)
    assert changed[:before].tobytes() == whole[:before].tobytes()
    assert changed.tobytes() != whole.tobytes()
    past = [t for t in history if t.time <= cut]
    alone = features.build(frame(past), label_frame([x for x in labels if x.transaction.time <= cut])).values
    assert alone.tobytes() == whole[:before].tobytes()
