"""Thresholds for rates and for costs, the latter against trying every pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fraudengine.errors import ConfigError
from fraudengine.training import thresholds
from fraudengine.training.thresholds import Costs, Thresholds


def data(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    fraud = (generator.random(rows) < 0.1).astype(np.int8)
    score = np.round(np.clip(0.3 * generator.random(rows) + 0.5 * fraud * generator.random(rows), 0, 1), 2)
    return fraud, score.astype(np.float32), generator.integers(100, 20_000, rows)


def test_rates_are_kept_and_used() -> None:
    fraud, score, _ = data(0, rows=20_000)
    chosen = thresholds.for_rates(fraud, score, 0.05, 0.01)
    genuine = score[fraud == 0]
    assert 0.03 < np.mean(genuine >= np.float32(chosen.review_from)) <= 0.05
    assert np.mean(genuine >= np.float32(chosen.block_from)) <= 0.01
    assert chosen.block_from >= chosen.review_from


def test_a_rate_no_score_keeps_flags_nothing() -> None:
    chosen = thresholds.for_rates([0, 0, 1], np.ones(3, np.float32), 0.1, 0.1)
    assert chosen.review_from > 1


@pytest.mark.parametrize(("review", "block"), [(0.0, 0.0), (0.1, 0.2), (1.0, 0.5), (float("nan"), 0.1)])
def test_impossible_rates_are_refused(review: float, block: float) -> None:
    with pytest.raises(ConfigError, match="block_fpr"):
        thresholds.for_rates([0, 1], [0.1, 0.9], review, block)


def total_cost(
    fraud: np.ndarray, score: np.ndarray, amount: np.ndarray, chosen: Thresholds, costs: Costs
) -> float:
    """Add up what happens to each transaction, one by one."""
    total = 0.0
    for is_fraud, value, minor in zip(fraud, score, amount, strict=True):
        loss = int(is_fraud) * int(minor) * costs.loss_share
        if value >= np.float32(chosen.block_from):
            total += costs.friction_minor * (1 - int(is_fraud))
        elif value >= np.float32(chosen.review_from):
            total += costs.review_minor + costs.review_misses * loss
        else:
            total += loss
    return total


@pytest.mark.parametrize("seed", range(4))
def test_costs_are_the_lowest_of_all_pairs(seed: int) -> None:
    fraud, score, amount = data(seed)
    costs = Costs(review_minor=200, friction_minor=1500, loss_share=0.8, review_misses=0.2)
    chosen, stated = thresholds.for_costs(fraud, score, amount, costs)
    assert chosen.block_from >= chosen.review_from
    assert total_cost(fraud, score, amount, chosen, costs) == pytest.approx(stated)
    cuts = [*np.unique(score)[::3], 2.0]
    cheapest = min(
        total_cost(fraud, score, amount, Thresholds(float(low), float(high)), costs)
        for low, high in itertools.combinations_with_replacement(cuts, 2)
    )
    assert stated <= cheapest + 1e-6


def test_free_blocking_of_a_perfect_score_costs_nothing() -> None:
    chosen, cost = thresholds.for_costs([0, 0, 1], [0.1, 0.2, 0.9], [100, 100, 100], Costs(friction_minor=10))
    assert cost == 0
    assert chosen.block_from == pytest.approx(0.55)  # halfway: a last bit of a score decides nothing


@pytest.mark.parametrize("bad", [{"review_minor": -1}, {"loss_share": 1.1}, {"review_misses": float("nan")}])
def test_costs_outside_their_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Costs(**bad)


def test_no_held_out_row_lies_upon_a_threshold() -> None:
    score = np.linspace(0.0, 1.0, 1_001, dtype=np.float32)
    fraud = (np.arange(1_001) > 950).astype(np.int8)
    chosen = thresholds.for_rates(fraud, score, 0.02, 0.01)
    for threshold, allowed in ((chosen.review_from, 19), (chosen.block_from, 9)):
        flagged = score >= np.float32(threshold)
        assert np.count_nonzero(flagged & (fraud == 0)) == allowed
        assert np.abs(score - np.float32(threshold)).min() > 4e-4


def test_neighbouring_scores_keep_their_threshold() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    chosen = thresholds.for_rates([0] * 99 + [1], np.array([low] * 99 + [high], np.float32), 0.02, 0.01)
    assert np.float32(chosen.review_from) == high
