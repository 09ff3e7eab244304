"""Training and replay from end to end on a small history, through the native engine."""

from __future__ import annotations

import dataclasses
import io
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_history import START, small_history

from fraudengine import _native, features
from fraudengine.bundle import Bundle
from fraudengine.errors import BundleError, TrainingError
from fraudengine.replay import ReplayResult, replay
from fraudengine.training import BoosterOptions, Costs, ForestOptions, TrainOptions, TrainResult, train
from fraudengine.training.evaluate import evaluate

OPTIONS = TrainOptions(
    booster=BoosterOptions(trees=20, depth=4), forest=ForestOptions(trees=10, rows_per_tree=64), threads=1
)
DELAY = timedelta(days=3)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return small_history()


@pytest.fixture(scope="module")
def trained(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(history, OPTIONS, tmp_path_factory.mktemp("train") / "model")


@pytest.fixture(scope="module")
def replayed(trained: TrainResult, history: pl.DataFrame) -> ReplayResult:
    return replay(trained.bundle, history, label_delay=DELAY, features=True)


def test_the_same_data_and_seed_give_the_same_bundle(
    trained: TrainResult, history: pl.DataFrame, tmp_path: Path
) -> None:
    assert train(history, OPTIONS, tmp_path / "again").bundle.hash == trained.bundle.hash
    other = train(history, dataclasses.replace(OPTIONS, seed=8), tmp_path / "other")
    assert other.bundle.hash != trained.bundle.hash


def test_training_on_two_threads_is_repeatable(history: pl.DataFrame, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, threads=2)
    hashes = {train(history, options, tmp_path / name).bundle.hash for name in ("a", "b")}
    assert len(hashes) == 1


def test_the_order_of_rows_in_a_file_changes_nothing(
    trained: TrainResult, history: pl.DataFrame, tmp_path: Path
) -> None:
    # Times are distinct, so sorting restores the one order.
    assert history["event_time"].is_unique().all()
    shuffled = history.sample(fraction=1.0, shuffle=True, seed=1)
    assert train(shuffled, OPTIONS, tmp_path / "model").bundle.hash == trained.bundle.hash


def test_the_future_changes_no_model(history: pl.DataFrame, trained: TrainResult, tmp_path: Path) -> None:
    until = START + timedelta(days=38)
    options = dataclasses.replace(OPTIONS, train_until=until)
    flipped = history.with_columns(
        is_fraud=pl.when(pl.col("label_known_time") > until)
        .then(1 - pl.col("is_fraud"))
        .otherwise("is_fraud")
    )
    known = train(history, options, tmp_path / "a").bundle
    unknown = train(flipped, options, tmp_path / "b").bundle
    for name in ("ensemble.bin", "policy.json", "booster.ubj"):
        expected = trained.bundle.file(name).read_bytes()
        assert known.file(name).read_bytes() == unknown.file(name).read_bytes() == expected


def test_replay_decides_everything_and_detects(replayed: ReplayResult, history: pl.DataFrame) -> None:
    assert replayed.decisions["transaction_id"].to_list() == history["transaction_id"].to_list()
    assert replayed.repeated == replayed.rejected == 0
    assert sum(replayed.actions.values()) == history.height
    test = evaluate(replayed.decisions, history, start=START + timedelta(days=38), repeats=10)
    assert test["roc_auc"]["value"] > 0.75
    assert test["average_precision"]["value"] > 3 * test["frauds"] / test["transactions"]


def test_replay_and_training_measure_the_same(
    trained: TrainResult, replayed: ReplayResult, history: pl.DataFrame
) -> None:
    test = evaluate(replayed.decisions, history, start=START + timedelta(days=38), seed=OPTIONS.seed)
    reported = trained.report["figures"]["test"]
    for name in ("transactions", "frauds", "roc_auc", "average_precision", "card_precision"):
        assert test[name] == reported[name]


def test_replayed_features_are_the_training_matrix(replayed: ReplayResult, history: pl.DataFrame) -> None:
    matrix = features.build(history)
    found = replayed.decisions.select(matrix.names).to_numpy()
    assert np.array_equal(found.view(np.uint32), matrix.values.view(np.uint32))


def test_golden_rows_are_scored_bit_for_bit_by_the_native_ensemble(trained: TrainResult) -> None:
    golden = pl.read_parquet(io.BytesIO(trained.bundle.file("golden.parquet").read_bytes()))
    rows = np.ascontiguousarray(golden.select(features.names()).to_numpy(), dtype=np.float32)
    assert np.isnan(rows).any()
    ensemble = _native.Ensemble(trained.bundle.file("ensemble.bin").read_bytes())
    anomaly, margin = ensemble.score(rows)
    assert np.array_equal(anomaly, golden["expected_anomaly"].to_numpy())
    np.testing.assert_allclose(margin, golden["expected_margin"].to_numpy(), rtol=1e-6, atol=1e-6)


def test_flagged_decisions_have_reasons_and_approved_ones_none(replayed: ReplayResult) -> None:
    lengths = replayed.decisions.select("action", given=pl.col("reasons").list.len())
    assert lengths.filter(pl.col("action") == "approve")["given"].max() == 0
    assert lengths.filter(pl.col("action") != "approve")["given"].min() >= 1  # type: ignore[operator]  # never null: lists are filled
    assert set(replayed.decisions["reasons"].explode().drop_nulls()) <= {*features.names(), "anomaly_score"}


def test_a_start_keeps_later_decisions_as_they_were(
    trained: TrainResult, replayed: ReplayResult, history: pl.DataFrame, tmp_path: Path
) -> None:
    start = START + timedelta(days=30)
    part = replay(
        trained.bundle.path, history, out=tmp_path / "d.parquet", label_delay=DELAY, start=start, threads=2
    )
    whole = replayed.decisions.filter(pl.col("event_time") >= start).select(part.decisions.columns)
    assert part.decisions.equals(whole)
    assert pl.read_parquet(tmp_path / "d.parquet").equals(whole)


def test_the_future_changes_no_decision(
    trained: TrainResult, replayed: ReplayResult, history: pl.DataFrame
) -> None:
    now = START + timedelta(days=25)
    unknown = pl.col("label_known_time") > now
    flipped = history.with_columns(
        is_fraud=pl.when(unknown).then(1 - pl.col("is_fraud")).otherwise("is_fraud")
    )
    before = replayed.decisions.filter(pl.col("event_time") < now)
    for other in (flipped, history.filter(pl.col("event_time") < now)):
        decided = replay(trained.bundle, other, label_delay=DELAY, features=True).decisions
        assert decided.filter(pl.col("event_time") < now).equals(before)


def test_repeated_and_broken_records_are_counted(trained: TrainResult, history: pl.DataFrame) -> None:
    few = history.head(50)
    broken = few[7:8].with_columns(transaction_id=pl.lit("bad"), amount_minor=pl.lit(-5, pl.Int64))
    result = replay(trained.bundle, pl.concat([few, few[10:12], broken]), label_delay=DELAY)
    assert (result.repeated, result.rejected) == (2, 1)
    assert result.decisions.filter(transaction_id="bad")["action"].to_list() == [None]


def test_a_history_without_labels_gives_a_forest_that_reviews_but_never_blocks(tmp_path: Path) -> None:
    history = small_history(labels=False)
    result = train(history, OPTIONS, tmp_path / "cold")
    assert result.bundle.policy()["stage"] == "forest"
    assert "booster.ubj" not in result.bundle.content["files"]
    decided = replay(result.bundle, history)
    assert set(decided.actions) == {"approve", "review"}
    assert decided.actions["review"] / history.height == pytest.approx(OPTIONS.review_fpr, abs=0.015)
    page = result.bundle.file("report/report.html").read_text("utf-8")
    assert "not a probability" in page


def test_costs_choose_the_thresholds_when_given(history: pl.DataFrame, tmp_path: Path) -> None:
    options = dataclasses.replace(
        OPTIONS, costs=Costs(review_minor=1, friction_minor=100_000, review_misses=0)
    )
    policy = train(history, options, tmp_path / "model").bundle.policy()
    assert policy["expected_cost_minor"] > 0
    assert policy["review_from"] < 0.05


def test_the_report_is_self_contained_and_complete(trained: TrainResult) -> None:
    page = trained.bundle.file("report/report.html").read_text("utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 4
    assert all(name in page for name in features.names())
    assert "compromised_merchant" in page
    report = json.loads(trained.bundle.file("report/report.json").read_bytes())
    assert report["figures"] == trained.report["figures"] == trained.bundle.content["metrics"]
    gains = [row["gain"] for row in report["features"]]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) == pytest.approx(1)
    assert "# Model card" in trained.bundle.file("report/README.md").read_text("utf-8")


def test_progress_is_told(history: pl.DataFrame, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    train(history, OPTIONS, tmp_path / "model", lambda *step: heard.append(step))
    assert ("booster", 20, 20) in heard
    assert {"features", "forest", "validation booster", "booster", "figures", "bundle"} == {
        s for s, _, _ in heard
    }
    assert all(0 <= done <= total for _, done, total in heard)


def test_an_existing_bundle_is_only_replaced_when_told(history: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="exists already"):
        train(history, OPTIONS, tmp_path / "model")


def test_nothing_to_learn_from_is_an_error(history: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train(history, dataclasses.replace(OPTIONS, train_until=START), tmp_path / "model")
    with pytest.raises(TrainingError):
        train(history.head(0), OPTIONS, tmp_path / "model")


def test_a_foreign_bundle_is_refused_by_replay(
    trained: TrainResult, history: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        replay(tmp_path / "empty", history)
    assert Bundle.load(trained.bundle.path).hash == trained.bundle.hash
