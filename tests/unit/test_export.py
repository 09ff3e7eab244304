"""`ensemble.bin`: what is exported, what is refused, and that the reader checks the bytes again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xgboost as xgb
from sklearn.ensemble import IsolationForest

from fraudengine._native import Ensemble
from fraudengine.errors import CompileError, ConfigError, ModelError
from fraudengine.training import compile as compiling
from fraudengine.training import export
from fraudengine.training.export import export_ensemble, native_anomaly

FEATURES = 4
RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(600, FEATURES)).astype(np.float32)
FRAUD = (ROWS[:, 0] + ROWS[:, 1] > 1.0).astype(int)
FILL = np.zeros(FEATURES, np.float32)


def booster(
    rows: npt.NDArray[np.float32] = ROWS,
    labels: npt.NDArray[np.int64] = FRAUD,
    rounds: int = 3,
    **options: Any,
) -> xgb.Booster:
    settings = {"objective": "binary:logistic", "max_depth": 3, **options}
    return xgb.train(settings, xgb.DMatrix(rows, labels), rounds)


def forest(**options: Any) -> IsolationForest:
    return IsolationForest(n_estimators=5, max_samples=32, random_state=0, **options).fit(ROWS)


def test_booster_alone_has_no_anomaly() -> None:
    ensemble = Ensemble(export_ensemble(booster(), None, FILL, FEATURES))
    anomaly, margin = ensemble.score(ROWS)
    assert np.isnan(anomaly).all()
    assert np.isfinite(margin).all()
    assert not ensemble.uses_anomaly
    assert ensemble.attribution_width == FEATURES + 1


def test_forest_alone_has_no_margin_and_no_contributions() -> None:
    ensemble = Ensemble(export_ensemble(None, forest(), FILL, FEATURES))
    anomaly, margin = ensemble.score(ROWS)
    assert ((anomaly > 0.0) & (anomaly < 1.0)).all()
    assert np.isnan(margin).all()
    assert not ensemble.attributions(ROWS).any()


@pytest.mark.parametrize("base_score", [0.5, 0.0539, 0.999])
def test_base_score_becomes_the_margin_of_an_empty_model(base_score: float) -> None:
    model = booster(rounds=1, base_score=base_score, min_child_weight=1e9)
    _, margin = Ensemble(export_ensemble(model, None, FILL, FEATURES)).score(ROWS[:1])
    assert margin[0] == model.predict(xgb.DMatrix(ROWS[:1]), output_margin=True)[0]


@pytest.mark.parametrize("text", ["5E-1", "[5E-1]", "0.5"])
def test_every_spelling_of_the_base_score(text: str) -> None:
    assert export._base_margin(text) == 0.0


@pytest.mark.parametrize("text", ["[0.0]", "1.0", "[0.5,0.5]"])
def test_base_score_without_log_odds_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="base score"):
        export._base_margin(text)


@pytest.mark.parametrize("threshold", [0.0, 0.1, -0.1, 1.0, 1e-45, 1e300, -1e300, float("inf")])
def test_threshold_decides_every_float_as_the_double_does(threshold: float) -> None:
    cut = export._first_above(np.array([threshold]))[0]
    near = np.float32(np.clip(threshold, -3.4e38, 3.4e38))
    below, above = np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))
    for x in [near, below, above, np.float32(0.0), np.float32(-0.0), np.float32(-np.inf)]:
        assert (x < cut) == (float(x) <= threshold), x


def test_native_anomaly_fills_missing_values() -> None:
    rows = ROWS.copy()
    rows[::3, 1] = np.nan
    fill = np.array([0.5, -0.25, 0.0, 1.0], np.float32)
    anomaly = native_anomaly(forest(), fill, rows)
    assert np.array_equal(anomaly, native_anomaly(forest(), fill, np.where(np.isnan(rows), fill, rows)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: booster(booster="dart"), "must be gbtree"),
        (lambda: booster(objective="reg:squarederror"), "must be binary:logistic"),
        (
            lambda: booster(labels=RANDOM.integers(0, 3, 600), objective="multi:softprob", num_class=3),
            "must be binary:logistic",
        ),
        (lambda: booster(rows=ROWS[:, :2]), "has 2 features, expected 4"),
    ],
)
def test_boosters_that_cannot_be_scored_are_refused(model: Callable[[], xgb.Booster], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        export_ensemble(model(), None, FILL, FEATURES)


def test_categorical_splits_are_refused() -> None:
    kinds = RANDOM.integers(0, 5, 600)
    data = xgb.DMatrix(kinds.reshape(-1, 1), kinds % 2, feature_types=["c"], enable_categorical=True)
    model = xgb.train({"objective": "binary:logistic", "tree_method": "hist"}, data, 1)
    with pytest.raises(ModelError, match="categories"):
        export_ensemble(model, None, FILL[:1], 1)


def test_forest_on_column_subsets_is_refused() -> None:
    with pytest.raises(ModelError, match="subset of the columns"):
        export_ensemble(None, forest(max_features=0.5), FILL, FEATURES)


def test_fill_values_must_be_finite_and_one_per_feature() -> None:
    with pytest.raises(ModelError, match="shape"):
        export_ensemble(None, forest(), FILL[:2], FEATURES)
    with pytest.raises(ModelError, match="fill value"):
        export_ensemble(None, forest(), np.full(FEATURES, np.nan), FEATURES)


def test_nothing_to_export_is_refused() -> None:
    with pytest.raises(ModelError, match="no model"):
        export_ensemble(None, None, FILL, FEATURES)


def test_a_changed_byte_is_refused() -> None:
    data = bytearray(export_ensemble(booster(), None, FILL, FEATURES))
    data[40] ^= 1
    with pytest.raises(ModelError, match="checksum"):
        Ensemble(bytes(data))


def test_rows_backend_and_threads_are_checked() -> None:
    ensemble = Ensemble(export_ensemble(booster(), None, FILL, FEATURES))
    with pytest.raises(ModelError, match="rows have 2 features"):
        ensemble.score(np.zeros((1, 2), np.float32))
    with pytest.raises(ModelError, match="contiguous"):
        ensemble.score(np.asfortranarray(ROWS))
    with pytest.raises(ModelError, match="unknown backend"):
        ensemble.score(ROWS, "gpu")
    with pytest.raises(ModelError, match="not available"):
        ensemble.score(ROWS, "compiled")
    with pytest.raises(ConfigError, match="threads"):
        ensemble.score(ROWS, threads=0)


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(compiling.CompilerNotFoundError, match="gcc, clang"):
        compiling.compile_ensemble(b"checkpoint", None, tmp_path)


def test_compiling_nothing_and_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="neither"):
        compiling.compile_ensemble(None, None, tmp_path)
    ensemble = Ensemble(export_ensemble(booster(), None, FILL, FEATURES))
    with pytest.raises(CompileError, match="no library given"):
        ensemble.load_compiled()
    with pytest.raises(CompileError, match="absent"):
        ensemble.load_compiled(booster=tmp_path / "absent.so")
