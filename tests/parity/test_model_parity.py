"""Compiled = trained: every backend against XGBoost and scikit-learn on rows made to be difficult.

The native backends add leaves in XGBoost's own order, so their margins must equal XGBoost's bit for bit,
and their anomalies scikit-learn's, rounded to float32. Libraries of tl2cgen add in float32 in another
order. The worst case over T trees is T * 2^-24 of the sum of the leaves' magnitudes; rounding errors largely
cancel, so 1e-6 of that sum is demanded; no decision may flip at a margin further than this from a threshold.

`FRAUDENGINE_PARITY_ROWS` sets the number of rows (100,000 by default; 1,000,000 takes about a minute).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import treelite
import xgboost as xgb
from sklearn.ensemble import IsolationForest

from fraudengine._native import Ensemble
from fraudengine.training.compile import compile_ensemble
from fraudengine.training.export import export_ensemble, native_anomaly

ROWS = int(os.environ.get("FRAUDENGINE_PARITY_ROWS", "100000"))
FEATURES = 24
NATIVE = ("avx512", "avx2", "portable", "reference")
EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, 1.0, -1.0], np.float32)


@dataclass
class Trained:
    """One trained ensemble with the rows it is asked about."""

    booster: xgb.Booster
    forest: IsolationForest
    fill: npt.NDArray[np.float32]
    ensemble: Ensemble
    rows: npt.NDArray[np.float32]
    magnitude: float


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    random = np.random.default_rng(11)
    rows = random.normal(size=(20_000, FEATURES)).astype(np.float32)
    rows[:, 3] = np.round(rows[:, 3] * 2.0)
    rows[random.random(rows.shape) < 0.2] = np.nan
    rows[random.random(rows.shape) < 0.001] = np.float32(1e-42)
    known = np.nan_to_num(rows)
    risk = known[:, 0] * known[:, 1] + known[:, 2] + np.sin(3.0 * known[:, 3]) - np.isnan(rows[:, 4])
    fraud = (risk + random.normal(size=len(rows)) > 2.0).astype(int)
    fill = np.nanmedian(rows, axis=0).astype(np.float32)
    forest = IsolationForest(n_estimators=60, max_samples=256, random_state=1)
    forest.fit(np.where(np.isnan(rows), fill, rows))
    with_anomaly = np.column_stack([rows, native_anomaly(forest, fill, rows)])
    settings = {"objective": "binary:logistic", "max_depth": 6, "tree_method": "hist", "seed": 1}
    booster = xgb.train(settings, xgb.DMatrix(with_anomaly, fraud), 60)
    ensemble = Ensemble(export_ensemble(booster, forest, fill, FEATURES))
    folder = tmp_path_factory.mktemp("compiled")
    info = compile_ensemble(
        treelite.frontend.from_xgboost(booster).serialize_bytes(),
        treelite.sklearn.import_model(forest).serialize_bytes(),
        folder,
    )
    assert info.booster is not None
    assert info.forest is not None
    ensemble.load_compiled(info.booster.path, info.forest.path)
    leaves = [np.abs(_leaves(tree)).max() for tree in booster.get_dump(dump_format="text")]
    return Trained(booster, forest, fill, ensemble, _difficult(random, booster), float(np.sum(leaves)))


def _leaves(dump: str) -> npt.NDArray[np.float64]:
    return np.array([float(line.partition("leaf=")[2]) for line in dump.splitlines() if "leaf=" in line])


def _difficult(random: np.random.Generator, booster: xgb.Booster) -> npt.NDArray[np.float32]:
    """Rows of ordinary values, values equal to and next to thresholds, extremes and missing ones."""
    rows = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    splits = booster.trees_to_dataframe()
    for feature in range(FEATURES):
        cuts = splits.loc[splits["Feature"] == f"f{feature}", "Split"].to_numpy(np.float32)
        if cuts.size == 0:
            continue
        at = np.flatnonzero(random.random(ROWS) < 0.3)
        chosen = random.choice(cuts, at.size)
        step = random.integers(-1, 2, at.size)
        chosen = np.where(step < 0, np.nextafter(chosen, np.float32(-np.inf)), chosen)
        rows[at, feature] = np.where(step > 0, np.nextafter(chosen, np.float32(np.inf)), chosen)
    extreme = random.random(rows.shape) < 0.03
    rows[extreme] = random.choice(EXTREMES, int(extreme.sum()))
    rows[random.random(rows.shape) < 0.2] = np.nan
    return rows


def _xgboost(
    trained: Trained, rows: npt.NDArray[np.float32], anomaly: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    columns = np.column_stack([rows, anomaly]).astype(np.float32)
    return trained.booster.inplace_predict(columns, predict_type="margin")


@pytest.mark.parametrize("backend", NATIVE)
def test_native_backends_equal_both_libraries_bit_for_bit(trained: Trained, backend: str) -> None:
    if backend not in trained.ensemble.backends():
        pytest.skip(f"this processor cannot run {backend}")
    rows = trained.rows if backend != "reference" else trained.rows[:20_000]
    anomaly, margin = trained.ensemble.score(rows, backend)
    filled = np.where(np.isnan(rows), trained.fill, rows)
    isolation = -trained.forest.score_samples(filled)
    # Both round the same double sum; only the exponential may differ, by one float32 step.
    assert np.abs(anomaly - isolation).max() <= 2.0**-24
    assert np.mean(anomaly == isolation.astype(np.float32)) > 0.9999
    assert np.array_equal(margin, _xgboost(trained, rows, anomaly))


def test_infinities_equal_xgboost_and_the_oracle(trained: Trained) -> None:
    rows = trained.rows[:5_000].copy()
    random = np.random.default_rng(2)
    rows[random.random(rows.shape) < 0.1] = np.inf
    rows[random.random(rows.shape) < 0.1] = -np.inf
    expected = trained.ensemble.score(rows, "reference")
    # XGBoost refuses infinite input. No threshold is that large, so the largest floats stand in for it.
    columns = np.column_stack([rows, expected[0]]).astype(np.float32)
    clipped = np.clip(columns, np.finfo(np.float32).min, np.finfo(np.float32).max)
    assert np.array_equal(expected[1], trained.booster.inplace_predict(clipped, predict_type="margin"))
    for backend in trained.ensemble.backends():
        anomaly, margin = trained.ensemble.score(rows, backend)
        if backend == "compiled":
            assert np.abs(margin - expected[1]).max() <= 1e-6 * trained.magnitude
        else:
            assert np.array_equal(anomaly, expected[0])
            assert np.array_equal(margin, expected[1])


def test_compiled_libraries_stay_within_the_bound_and_flip_no_decision(trained: Trained) -> None:
    expected_anomaly, expected = trained.ensemble.score(trained.rows)
    anomaly, margin = trained.ensemble.score(trained.rows, "compiled", threads=2)
    bound = 1e-6 * trained.magnitude
    assert np.abs(anomaly - expected_anomaly).max() <= 2.0**-23
    same_input = anomaly == expected_anomaly
    assert same_input.mean() > 0.9999
    assert np.abs(margin - expected)[same_input].max() <= bound
    for threshold in np.quantile(expected, [0.5, 0.9, 0.99, 0.999]):
        clear = same_input & (np.abs(expected - threshold) > bound)
        assert np.array_equal(margin[clear] >= threshold, expected[clear] >= threshold)


def test_the_result_does_not_depend_on_batch_or_threads(trained: Trained) -> None:
    rows = trained.rows[:1_000]
    anomaly, margin = trained.ensemble.score(rows)
    for size in (1, 7, 63, 64, 65):
        parts = [trained.ensemble.score(rows[at : at + size]) for at in range(0, len(rows), size)]
        assert np.array_equal(np.concatenate([part[0] for part in parts]), anomaly)
        assert np.array_equal(np.concatenate([part[1] for part in parts]), margin)
    assert np.array_equal(trained.ensemble.score(rows, threads=3)[1], margin)


def test_attributions_equal_xgboost(trained: Trained) -> None:
    rows = trained.rows[:2_000]
    anomaly, margin = trained.ensemble.score(rows)
    matrix = xgb.DMatrix(np.column_stack([rows, anomaly]))
    expected = trained.booster.predict(matrix, pred_contribs=True, approx_contribs=True)
    contributions = trained.ensemble.attributions(rows)
    assert contributions.shape == (2_000, FEATURES + 2)
    assert np.abs(contributions - expected).max() <= 1e-5
    assert np.abs(contributions.sum(axis=1) - margin).max() <= 1e-4
