"""Calibration: recovers a known map, keeps the order, survives perfect and useless rankings."""

from __future__ import annotations

import numpy as np
import pytest

from fraudengine.errors import TrainingError
from fraudengine.training import calibrate


def test_a_known_slope_and_intercept_are_recovered() -> None:
    generator = np.random.default_rng(0)
    margin = generator.normal(0, 2, 200_000)
    truth = calibrate.Calibration(1.7, -2.0)
    fraud = generator.random(margin.size) < truth.probability(margin)
    found = calibrate.fit(margin, fraud)
    assert found.slope == pytest.approx(1.7, rel=0.03)
    assert found.intercept == pytest.approx(-2.0, rel=0.03)


def test_probabilities_never_swap_two_margins() -> None:
    margin = np.sort(np.random.default_rng(1).normal(0, 5, 10_000)).astype(np.float32)
    probability = calibrate.Calibration(0.7, -3).probability(margin)
    assert probability.dtype == np.float32
    assert np.all(np.diff(probability) >= 0)
    assert np.all(np.diff(probability[margin < 10]) > 0) or np.unique(margin).size < margin.size


def test_perfectly_separated_rows_keep_the_slope_finite() -> None:
    found = calibrate.fit(np.linspace(-1, 1, 100), np.linspace(-1, 1, 100) > 0.5)
    assert 0 < found.slope < 1e3
    assert np.isfinite(found.intercept)


def test_a_ranking_worse_than_chance_keeps_a_positive_slope_and_the_base_rate() -> None:
    margin = np.linspace(-1, 1, 1000)
    found = calibrate.fit(margin, margin < -0.8)
    assert found.slope > 0
    assert found.probability(margin).mean() == pytest.approx(0.1, abs=0.01)


def test_extreme_margins_give_zero_and_one() -> None:
    assert calibrate.Calibration().probability([-1e30, 0.0, 1e30]).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("fraud", [[0, 0], [1, 1], []])
def test_one_kind_of_label_is_refused(fraud: list[int]) -> None:
    with pytest.raises(TrainingError, match="frauds and genuine"):
        calibrate.fit(np.zeros(len(fraud)), fraud)
