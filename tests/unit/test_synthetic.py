"""The synthetic history keeps its promises: reproducible, labelled, as dirty as asked, not trivial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from fraudengine import features
from fraudengine.datasets.synthetic import SyntheticConfig, generate, generate_batches
from fraudengine.errors import ConfigError

SMALL = SyntheticConfig(customers=1_500, merchants=400, days=20, fraud_rate=0.01)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return generate(SyntheticConfig(customers=8_000, merchants=1_500, days=60, fraud_rate=0.01))


def test_threads_and_batches_change_nothing() -> None:
    dirty = replace(SMALL, duplicate_rate=0.02, late_rate=0.02, jitter_seconds=30.0, drift=0.5)
    whole = generate(dirty, threads=1)
    for threads in (2, 4):
        assert generate(dirty, threads=threads).equals(whole)
    assert pl.concat(list(generate_batches(dirty, threads=3))).equals(whole)
    assert not generate(replace(dirty, seed=2), threads=1).equals(whole)


def test_the_engine_accepts_every_record(history: pl.DataFrame) -> None:
    matrix = features.build(history)
    assert matrix.rejected == []
    assert np.isfinite(matrix.values).any(axis=0).all(), "every feature has values"


def test_fraud_comes_at_the_rate_asked_in_every_typology(history: pl.DataFrame) -> None:
    fraud = history.filter(pl.col("typology").is_not_null())
    assert fraud.height / history.height == pytest.approx(0.01, rel=0.1)
    counts = dict(fraud["typology"].value_counts().iter_rows())
    assert len(counts) == 8
    assert min(counts.values()) > 20
    assert (history["is_fraud"] == history["typology"].is_not_null().cast(pl.Int8)).all()


def test_records_are_as_dirty_as_asked() -> None:
    clean = generate(SMALL)
    assert clean["transaction_id"].is_unique().all()
    assert clean["event_time"].is_sorted()
    twice = generate(replace(SMALL, duplicate_rate=0.05))
    assert twice.height / clean.height == pytest.approx(1.05, abs=0.01)
    assert set(twice["transaction_id"]) == set(clean["transaction_id"])
    late = generate(replace(SMALL, late_rate=0.05))
    behind = late.with_columns(newest=pl.col("event_time").cum_max()).select(
        (pl.col("newest") - pl.col("event_time")).dt.total_seconds().alias("behind")
    )["behind"]
    seconds = behind.to_numpy()
    assert 0.01 < (seconds > 30).mean() < 0.06
    assert seconds.max() <= 1_800
    noisy = generate(replace(SMALL, label_noise=0.1))
    wrong = (noisy["is_fraud"] == 1) != noisy["typology"].is_not_null()
    assert wrong.sum() / wrong.len() == pytest.approx(0.1, abs=0.01)


def test_labels_follow_their_delay() -> None:
    hours = (
        generate(replace(SMALL, label_delay_hours=48.0))
        .select((pl.col("label_known_time") - pl.col("event_time")).dt.total_seconds() / 3600)
        .to_series()
    )
    delays = hours.to_numpy()
    assert delays.mean() == pytest.approx(48.0, rel=0.03)
    assert delays.std() > 10
    assert delays.min() >= 0


def test_drift_moves_amounts_and_nothing_moves_without() -> None:
    def halves(config: SyntheticConfig) -> float:
        amounts = np.log(generate(config)["amount_minor"].to_numpy())
        middle = len(amounts) // 2
        return float(amounts[middle:].mean() - amounts[:middle].mean())

    assert abs(halves(SMALL)) < 0.03
    assert halves(replace(SMALL, drift=1.0)) > 0.1


def test_no_single_field_separates_fraud(history: pl.DataFrame) -> None:
    fraud = history["is_fraud"].to_numpy()
    fields = {
        "amount_minor": history["amount_minor"],
        "merchant_category": history["merchant_category"],
        "hour": history["event_time"].dt.hour(),
        "no device": history["device_id"].is_null(),
        "no card": history["card_id"].is_null(),
        **{f"channel {name}": history["channel"] == name for name in history["channel"].unique()},
        **{f"country {name}": history["country"] == name for name in history["country"].unique()},
    }
    for name, values in fields.items():
        area = roc_auc_score(fraud, values.cast(pl.Float64).to_numpy())
        assert max(area, 1 - area) < 0.75, name
    for field in ("customer_id", "merchant_id", "device_id", "ip_address", "card_id"):
        shapes = history.select(pl.col(field).str.replace_all("[0-9a-f]", "x"), "is_fraud").drop_nulls()
        rates = shapes.group_by(field).agg(pl.col("is_fraud").mean())
        assert rates["is_fraud"].to_numpy().max() < 0.1, f"the spelling of {field} gives fraud away"


def test_honest_customers_have_a_rhythm(history: pl.DataFrame) -> None:
    honest = history.filter(pl.col("is_fraud") == 0)
    by_hour = dict(honest["event_time"].dt.hour().value_counts().iter_rows())
    assert by_hour[18] > 4 * by_hour[4]
    per_customer = honest["customer_id"].value_counts()["count"].to_numpy()
    assert np.quantile(per_customer, 0.95) > 4 * np.quantile(per_customer, 0.2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("customers", 3), ("days", 0), ("fraud_rate", 0.5), ("drift", -1.0), ("label_noise", 0.9)],
)
def test_a_setting_outside_its_range_is_named(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=setting):
        generate(SyntheticConfig(**{setting: value}))  # type: ignore[arg-type]  # one of several types
