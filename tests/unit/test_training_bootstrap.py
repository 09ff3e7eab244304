"""Confidence intervals."""

from __future__ import annotations

import numpy as np
import pytest

from fraudengine.training import bootstrap, metrics


def data(customers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(customers)
    customer = np.repeat(np.arange(customers), 10)
    fraud = (generator.random(customer.size) < 0.1).astype(np.int8)
    return fraud, generator.normal(size=customer.size) + fraud, customer


def test_same_seed_same_interval_and_it_holds_the_value() -> None:
    fraud, score, customer = data(200)
    figures = {"auc": metrics.roc_auc}
    one = bootstrap.by_customer(fraud, score, customer, figures, seed=3)["auc"]
    assert one == bootstrap.by_customer(fraud, score, customer, figures, seed=3)["auc"]
    assert one != bootstrap.by_customer(fraud, score, customer, figures, seed=4)["auc"]
    assert one.low < one.value < one.high
    assert one.value == metrics.roc_auc(metrics.curve(fraud, score))


def test_more_customers_give_a_narrower_interval() -> None:
    widths = []
    for customers in (50, 2000):
        interval = bootstrap.by_customer(*data(customers), {"auc": metrics.roc_auc})["auc"]
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 3


def test_rows_of_one_customer_move_together() -> None:
    fraud, score, _ = data(40)
    together = bootstrap.by_customer(fraud, score, np.zeros(fraud.size, int), {"auc": metrics.roc_auc})["auc"]
    assert np.isnan(together.low)


def test_days_are_resampled_as_a_ratio_of_sums() -> None:
    interval = bootstrap.by_day([1, 2, 3], [10, 10, 10])
    assert interval.value == pytest.approx(0.2)
    assert 0.1 <= interval.low <= interval.high <= 0.3
    assert np.isnan(bootstrap.by_day([0.0], [0.0]).value)
