"""Forest, booster, policy: what the stages promise, against the libraries themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fraudengine import _native, features
from fraudengine.errors import ConfigError, TrainingError
from fraudengine.training import (
    BoosterOptions,
    ForestOptions,
    TrainOptions,
    artifacts,
    forest,
    models,
    policy,
    xgboost_stage,
)
from fraudengine.training.options import silent

NAMES = features.names()
SMALL = TrainOptions(booster=BoosterOptions(trees=12, depth=3), forest=ForestOptions(trees=8), threads=1)


def data(rows: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(rows, len(NAMES))).astype(np.float32)
    values[generator.random(values.shape) < 0.2] = np.nan
    values[:, 3] = np.nan
    fraud = (np.nan_to_num(values[:, 0]) + generator.normal(size=rows) > 2).astype(np.int8)
    return values, fraud


def test_the_forest_fills_gaps_with_medians_and_equals_scikit_learn() -> None:
    values, _ = data()
    trained = forest.fit(values, ForestOptions(trees=8), 1)
    assert trained.fill[3] == 0
    assert trained.fill[0] == np.float32(np.median(values[~np.isnan(values[:, 0]), 0]))
    expected = -trained.model.score_samples(trained.filled(values))
    np.testing.assert_allclose(artifacts.anomaly(trained, values), expected, rtol=1e-6)


def test_the_forest_depends_on_the_seed_alone() -> None:
    values, _ = data()
    one, again, other = (
        artifacts.anomaly(forest.fit(values, ForestOptions(trees=4), seed), values) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_infinite_values_do_not_stop_the_forest() -> None:
    values, _ = data()
    values[0, 0], values[1, 1] = np.inf, -np.inf
    assert np.isfinite(artifacts.anomaly(forest.fit(values, ForestOptions(trees=4), 1), values)).all()


def test_the_booster_learns_from_the_native_anomaly() -> None:
    values, fraud = data()
    both = models.fit(values, fraud, NAMES, SMALL, silent, "booster")
    assert both.booster is not None
    assert both.booster.feature_names == [*NAMES, models.ANOMALY_COLUMN]
    anomaly, margin = both.score(values)
    ensemble = _native.Ensemble(artifacts.model_files(both.forest, both.booster)["ensemble.bin"])
    assert ensemble.uses_anomaly
    native_anomaly, native_margin = ensemble.score(values)
    assert np.array_equal(native_anomaly, anomaly)
    np.testing.assert_allclose(native_margin, margin, rtol=1e-6, atol=1e-6)


def test_importance_shares_add_up_to_one() -> None:
    values, fraud = data()
    booster = models.fit(values, fraud, NAMES, SMALL, silent, "booster").booster
    assert booster is not None
    shares = xgboost_stage.importance(booster)
    assert sum(row["gain"] for row in shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]["gain"]) == NAMES[0]


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_label_teaches_no_booster(label: int) -> None:
    values, fraud = data(100)
    with pytest.raises(TrainingError, match="frauds and genuine"):
        models.fit(values, np.full_like(fraud, label), NAMES, SMALL, silent, "booster")


def test_one_row_is_no_forest() -> None:
    with pytest.raises(TrainingError, match="at least 2 rows"):
        forest.fit(data(1)[0], ForestOptions(), 1)


def test_actions_follow_the_thresholds_as_the_native_policy_does() -> None:
    chosen = policy.Policy("booster", 1.0, 0.0, 0.5, 0.9)
    scores = np.array([0.0, 0.49, 0.5, 0.89, 0.9, 1.0, np.nan], np.float32)
    assert chosen.actions(scores).tolist() == [0, 0, 1, 1, 2, 2, 1]


def test_the_cold_policy_reviews_the_stated_share_and_never_blocks() -> None:
    anomaly = np.random.default_rng(0).uniform(0.3, 0.8, 100_000).astype(np.float32)
    options = TrainOptions(review_fpr=0.05, block_fpr=0.01)
    chosen = policy.cold(anomaly, options)
    score = chosen.score(anomaly, np.full_like(anomaly, np.nan))
    actions = chosen.actions(score)
    assert np.mean(actions == 1) == pytest.approx(0.05, abs=0.001)
    assert not (actions == 2).any()
    assert np.mean(score >= 0.9) == pytest.approx(0.01, abs=0.001)


def test_a_forest_of_equal_anomalies_still_gives_a_policy() -> None:
    chosen = policy.cold(np.full(10, 0.5, np.float32), TrainOptions())
    assert np.isfinite([chosen.slope, chosen.intercept]).all()
    assert chosen.slope > 0


@pytest.mark.parametrize("bad", [{"trees": 0}, {"depth": 9}, {"bins": 257}, {"learning_rate": 0}, {"l2": -1}])
def test_booster_settings_outside_their_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be between"):
        BoosterOptions(**bad)  # type: ignore[arg-type]  # wrong on purpose
