"""What a threshold would have done, against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fraudengine.dashboard.thresholds import Outcomes

SCORE = np.array([0.9, 0.5, 0.5, 0.2, 0.1], dtype=np.float32)
FRAUD = np.array([True, False, True, False, False])
WORTH = np.array([1_000.0, 200.0, 500.0, 100.0, 50.0])
WEIGHT = np.array([1.0, 10.0, 1.0, 10.0, 10.0])


def test_figures_at_a_threshold_are_counted() -> None:
    told = Outcomes(SCORE, FRAUD, WORTH, WEIGHT, days=2.0).at(0.5)
    assert (told.detection, told.alerts_per_day) == (1.0, 6.0)
    assert told.false_positives == pytest.approx(10 / 30)
    assert told.precision == pytest.approx(2 / 12)
    assert (told.caught, told.missed, told.disturbed) == (750.0, 0.0, 1_000.0)


def test_a_threshold_is_compared_as_the_engine_does() -> None:
    outcomes = Outcomes(SCORE, FRAUD, WORTH, WEIGHT, days=1.0)
    assert outcomes.at(0.9).alerts_per_day == 1
    assert outcomes.at(float(np.nextafter(np.float32(0.9), np.float32(1)))).alerts_per_day == 0
    assert outcomes.at(0.0).alerts_per_day == outcomes.transactions == 32


def test_without_frauds_rates_are_not_a_number() -> None:
    told = Outcomes(SCORE, np.zeros(5, dtype=bool), WORTH, WEIGHT, days=1.0).at(0.95)
    assert math.isnan(told.detection)
    assert math.isnan(told.precision)
    assert told.false_positives == 0
