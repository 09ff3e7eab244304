"""Which rows count, and figures of decisions with a known answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from small_history import START, small_history

from fraudengine.errors import ConfigError, InputError
from fraudengine.training.evaluate import Protocol, evaluate, handbook_rows, join


def decisions(history: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return scores that know a good deal of the truth."""
    noise = np.random.default_rng(seed).normal(size=history.height)
    margin = (noise + 2.0 * history["is_fraud"].to_numpy() - 3).astype(np.float32)
    score = 1 / (1 + np.exp(-margin))
    return history.select("transaction_id").with_columns(
        score=pl.Series(score), margin=pl.Series(margin), action=pl.Series((score > 0.5).astype(np.uint8))
    )


def obvious_handbook_rows(history: pl.DataFrame, test_start: datetime) -> list[bool]:
    """Follow the book's function: a growing set of known customers, one test day after the other."""
    rows = history.select("event_time", "customer_id", "is_fraud").rows()
    day = [(time - (test_start - timedelta(days=14))) // timedelta(days=1) for time, _, _ in rows]
    known = {row[1] for row, at in zip(rows, day, strict=True) if 0 <= at < 7 and row[2] == 1}
    counted = [False] * len(rows)
    for test_day in range(14, 21):
        known |= {row[1] for row, at in zip(rows, day, strict=True) if at == test_day - 8 and row[2] == 1}
        for index, (row, at) in enumerate(zip(rows, day, strict=True)):
            counted[index] |= at == test_day and row[1] not in known
    return counted


@pytest.mark.parametrize("test_day", [20, 30, 38])
def test_handbook_rows_are_the_books(test_day: int) -> None:
    history = small_history(per_day=40)
    start = START + timedelta(days=test_day)
    assert handbook_rows(history, start).to_list() == obvious_handbook_rows(history, start)


def test_labels_that_are_missing_are_not_frauds_and_do_not_count() -> None:
    history = small_history().with_columns(is_fraud=pl.when(pl.int_range(pl.len()) % 2 == 0).then("is_fraud"))
    full = decisions(small_history())
    assert evaluate(full, history, repeats=2)["transactions"] == history["is_fraud"].count()


def test_a_perfect_score_gives_perfect_figures() -> None:
    history = small_history()
    perfect = history.select("transaction_id", score=pl.col("is_fraud").cast(pl.Float32))
    found = evaluate(perfect, history, repeats=5)
    assert found["roc_auc"]["value"] == 1
    assert found["average_precision"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["recall_at_fpr"]["value"] == 1
    assert found["brier"] == 0
    assert found["typologies"][0]["found"] == found["frauds"] > 0


def test_a_history_that_names_no_typology_has_no_table_of_them() -> None:
    history = small_history().with_columns(typology=pl.lit(None, pl.String))
    assert evaluate(decisions(history), history, repeats=2)["typologies"] == []


def test_the_range_is_closed_at_its_start_and_open_at_its_end() -> None:
    history = small_history()
    first, last = history["event_time"][100], history["event_time"][200]
    found = evaluate(decisions(history), history, start=first, end=last, repeats=2)
    assert found["transactions"] == 100
    assert found["start"] == first.isoformat()


def test_handbook_protocol_defaults_to_the_last_week() -> None:
    history = small_history()
    found = evaluate(decisions(history), history, protocol=Protocol.HANDBOOK, repeats=2)
    counted = handbook_rows(history, START + timedelta(days=38))
    assert found["transactions"] == counted.sum()
    assert found["frauds"] == history.filter(counted)["is_fraud"].sum()
    assert found["days"] == 7


def test_actions_are_counted_by_name_whatever_their_type() -> None:
    history = small_history()
    coded = decisions(history)
    named = coded.with_columns(pl.col("action").replace_strict({0: "approve", 1: "review"}))
    one, two = (evaluate(each, history, repeats=2)["actions"] for each in (coded, named))
    assert one == two
    assert sum(sum(counts.values()) for counts in one.values()) == history.height


def test_the_first_decision_of_an_id_counts_and_margins_break_ties_of_scores() -> None:
    history = small_history().head(3)
    twice = pl.DataFrame(
        {"transaction_id": ["t0", "t1", "t0"], "score": [1.0, 1.0, 0.0], "margin": [30.0, 40.0, -9.0]}
    )
    joined = join(twice, history)
    assert joined["rank"].to_list() == [30.0, 40.0]


def test_what_cannot_be_evaluated_is_an_error() -> None:
    history = small_history()
    with pytest.raises(InputError, match="no column score"):
        evaluate(history.select("transaction_id"), history)
    with pytest.raises(InputError, match="no column is_fraud"):
        evaluate(decisions(history), history.drop("is_fraud"))
    with pytest.raises(InputError, match="no decision belongs"):
        evaluate(decisions(history).with_columns(transaction_id=pl.lit("x")), history)
    with pytest.raises(InputError, match="has a verdict"):
        evaluate(decisions(history), history, start=datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="not after"):
        evaluate(decisions(history), history, start=START, end=START)
