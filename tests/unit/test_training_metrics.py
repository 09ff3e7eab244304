"""Detection figures against scikit-learn and against obvious oracles."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from fraudengine.training import metrics


def sample(seed: int, rows: int = 2000, distinct: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores with many ties."""
    generator = np.random.default_rng(seed)
    fraud = (generator.random(rows) < 0.05).astype(np.int8)
    score = np.round((generator.random(rows) + 0.5 * fraud) * distinct) / distinct
    return fraud, score


@pytest.mark.parametrize("seed", range(5))
def test_ranking_figures_equal_scikit_learn_with_ties(seed: int) -> None:
    fraud, score = sample(seed)
    points = metrics.curve(fraud, score)
    assert metrics.roc_auc(points) == pytest.approx(roc_auc_score(fraud, score), abs=1e-12)
    assert metrics.average_precision(points) == pytest.approx(
        average_precision_score(fraud, score), abs=1e-12
    )


@pytest.mark.parametrize("fpr_max", [0.0, 0.01, 0.021, 0.3, 1.0])
def test_recall_at_fpr_is_the_best_point_of_the_roc_curve(fpr_max: float) -> None:
    fraud, score = sample(7)
    fpr, tpr, _ = roc_curve(fraud, score, drop_intermediate=False)
    assert metrics.recall_at_fpr(metrics.curve(fraud, score), fpr_max) == tpr[fpr <= fpr_max].max()


def test_threshold_and_precision_belong_to_the_same_point() -> None:
    fraud, score = sample(3, distinct=1000)
    points = metrics.curve(fraud, score)
    threshold = metrics.threshold_at_fpr(points, 0.021)
    flagged = score >= threshold
    assert (flagged & (fraud == 0)).sum() <= 0.021 * (fraud == 0).sum()
    assert fraud[flagged].mean() == pytest.approx(metrics.precision_at_fpr(points, 0.021))
    below = score >= np.max(score[score < threshold])
    assert (below & (fraud == 0)).sum() > 0.021 * (fraud == 0).sum()


def test_weights_repeat_rows() -> None:
    fraud, score = sample(11, rows=300)
    weights = np.random.default_rng(1).integers(0, 4, fraud.size)
    weighted = metrics.curve(fraud, score, weights)
    repeated = metrics.curve(np.repeat(fraud, weights), np.repeat(score, weights))
    assert metrics.roc_auc(weighted) == pytest.approx(metrics.roc_auc(repeated), abs=1e-12)
    assert metrics.average_precision(weighted) == pytest.approx(
        metrics.average_precision(repeated), abs=1e-12
    )


def test_order_of_rows_changes_nothing() -> None:
    fraud, score = sample(5)
    shuffled = np.random.default_rng(0).permutation(fraud.size)
    one, two = metrics.curve(fraud, score), metrics.curve(fraud[shuffled], score[shuffled])
    assert metrics.average_precision(one) == metrics.average_precision(two)


@pytest.mark.parametrize("fraud", [[], [0, 0, 0], [1, 1]])
def test_one_kind_of_label_gives_no_figure_but_nan(fraud: list[int]) -> None:
    points = metrics.curve(fraud, np.arange(len(fraud)))
    assert np.isnan(metrics.roc_auc(points))
    assert np.isnan(metrics.recall_at_fpr(points))


def test_brier_equals_scikit_learn_and_calibration_error_is_zero_when_honest() -> None:
    fraud, score = sample(2)
    probability = np.clip(score / 2, 0, 1)
    assert metrics.brier(fraud, probability) == pytest.approx(brier_score_loss(fraud, probability))
    assert metrics.calibration_error(fraud, np.full(fraud.size, fraud.mean()), bins=1) == pytest.approx(0)
    assert metrics.calibration_error([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], bins=2) == pytest.approx(0.5)


def handbook_card_precision(rows: list[tuple[int, int, int, float]], k: int) -> list[float]:
    """Follow the book's definition as plainly as possible; rows are (day, card, fraud, score)."""
    found: set[int] = set()
    result = []
    for day in sorted({row[0] for row in rows}):
        cards: dict[int, tuple[float, int]] = {}
        for _, card, fraud, score in (row for row in rows if row[0] == day and row[1] not in found):
            best, any_fraud = cards.get(card, (-1.0, 0))
            cards[card] = (max(best, score), max(any_fraud, fraud))
        top = sorted(cards.items(), key=lambda item: -item[1][0])[:k]
        hits = {card for card, (_, fraud) in top if fraud}
        found |= hits
        result.append(len(hits) / k)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_card_precision_is_the_handbooks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = 800
    day, card = generator.integers(0, 7, rows), generator.integers(0, 60, rows)
    fraud = (generator.random(rows) < 0.1).astype(np.int8)
    score = generator.permutation(rows) + 300.0 * fraud
    expected = handbook_card_precision(list(zip(day, card, fraud, score, strict=True)), 10)
    lists = metrics.alert_days(fraud, score, card, day, np.ones(rows), k=10)
    assert lists.card_precision.tolist() == expected


def test_money_is_caught_in_the_days_top_transactions_only() -> None:
    lists = metrics.alert_days(
        fraud=[1, 1, 0, 1], score=[0.9, 0.1, 0.5, 0.2], card=[1, 2, 3, 4], day=[0, 0, 0, 1],
        amount_minor=[100, 40, 7, 5], k=2,
    )  # fmt: skip
    assert lists.money_caught.tolist() == [100.0, 5.0]
    assert lists.money_lost.tolist() == [40.0, 0.0]
