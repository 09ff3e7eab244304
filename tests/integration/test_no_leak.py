"""No leak, over every kind of entity: what is not known yet changes no feature, no score, no action.

A synthetic history has customers, cards, devices, merchants and addresses with known frauds behind them.
At several instants the verdicts not known by then are flipped, or everything later is cut off. As a
control, flipping what *was* known must move the risk features of each entity and the scores.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fraudengine.bundle import Bundle
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.replay import replay
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train

START = datetime(2025, 1, 1, tzinfo=UTC)
OPTIONS = TrainOptions(
    booster=BoosterOptions(trees=30, depth=4), forest=ForestOptions(trees=10, rows_per_tree=64), threads=1
)
ENTITIES = {
    "customer": "customer_id",
    "card": "card_id",
    "device": "device_id",
    "merchant": "merchant_id",
    "ip": "ip_address",
}


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    frame = generate(
        SyntheticConfig(customers=250, merchants=60, days=70, start=START, fraud_rate=0.03, seed=4)
    )
    return frame.sort("event_time", maintain_order=True)


@pytest.fixture(scope="module")
def bundle(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(history, OPTIONS, tmp_path_factory.mktemp("leak") / "model").bundle


@pytest.fixture(scope="module")
def decided(bundle: Bundle, history: pl.DataFrame) -> pl.DataFrame:
    return decide(bundle, history)


def decide(bundle: Bundle, history: pl.DataFrame) -> pl.DataFrame:
    return replay(bundle, history, features=True).decisions


def flipped(history: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    return history.with_columns(is_fraud=pl.when(which).then(1 - pl.col("is_fraud")).otherwise("is_fraud"))


@pytest.mark.parametrize("day", [20, 40, 55, 66])
def test_verdicts_not_known_yet_and_the_future_change_nothing(
    bundle: Bundle, history: pl.DataFrame, decided: pl.DataFrame, day: int
) -> None:
    now = START + timedelta(days=day, hours=5)
    before = decided.filter(pl.col("event_time") <= now)
    unknown = pl.col("label_known_time") > now
    assert history.filter(unknown & (pl.col("event_time") <= now)).height > 20
    for other in (flipped(history, unknown), history.filter(pl.col("event_time") <= now)):
        again = decide(bundle, other).filter(pl.col("event_time") <= now)
        # Bytes, not values: NaN stands for missing.
        assert again.equals(before, null_equal=True)
        assert again.select(pl.col(pl.Float32)).to_numpy().tobytes() == (
            before.select(pl.col(pl.Float32)).to_numpy().tobytes()
        )


def test_known_verdicts_move_the_risk_of_every_entity_and_the_scores(
    bundle: Bundle, history: pl.DataFrame, decided: pl.DataFrame
) -> None:
    now = START + timedelta(days=40)
    changed = decide(bundle, flipped(history, pl.col("label_known_time") <= now))
    for entity, column in ENTITIES.items():
        assert history[column].is_not_null().any()
        name = f"{entity}_frauds_30d"
        assert not changed[name].equals(decided[name]), name
    assert not changed["score"].equals(decided["score"])


def test_the_future_changes_no_trained_model(history: pl.DataFrame, tmp_path: Path) -> None:
    until = START + timedelta(days=50)
    options = dataclasses.replace(OPTIONS, train_until=until)
    whole = train(history, options, tmp_path / "whole").bundle
    unknown = train(
        flipped(history, pl.col("label_known_time") > until), options, tmp_path / "flipped"
    ).bundle
    cut = train(history.filter(pl.col("event_time") < until), options, tmp_path / "cut").bundle
    for name in ("ensemble.bin", "policy.json"):
        expected = whole.file(name).read_bytes()
        assert unknown.file(name).read_bytes() == expected
        assert cut.file(name).read_bytes() == expected
