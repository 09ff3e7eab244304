"""Compiled = trained, with the real thing: the ensemble that `train` makes, over the whole catalogue.

Rows are features of a synthetic history, made difficult: values equal to a split of the booster or of the
forest and their neighbours, extremes, infinities and holes. Compared are XGBoost and scikit-learn with
every backend of the engine. The native ones must give XGBoost's margins bit for bit. tl2cgen's libraries
add 200 float32 leaves in another order, and each addition rounds by at most 2^-24 of what has been added
up: at worst 200 * 2^-24 = 1.2e-5 of the sum of the leaves' magnitudes, in practice far less, because
roundings cancel. Demanded is 1e-6 of that sum (a margin may be near zero by cancellation, so it cannot be
the measure), and the same action at the policy's thresholds for every row.

`FRAUDENGINE_PARITY=full` (`make parity`) takes 200 + 100 trees and 1,000,000 rows, some minutes; otherwise
a small one of the same kind is compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import treelite

from fraudengine import features
from fraudengine._native import Ensemble
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, artifacts, models, policy
from fraudengine.training.compile import compile_ensemble
from fraudengine.training.options import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Rows = npt.NDArray[np.float32]

FULL = os.environ.get("FRAUDENGINE_PARITY") == "full"
ROWS, BLOCK = (1_000_000, 50_000) if FULL else (20_000, 10_000)
OPTIONS = (
    TrainOptions() if FULL else TrainOptions(booster=BoosterOptions(trees=24), forest=ForestOptions(trees=12))
)
LARGEST = np.finfo(np.float32).max
EXTREMES = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1e-38, 1.0, -1.0, LARGEST, -LARGEST, np.inf, -np.inf], np.float32
)


@dataclass
class Subject:
    """What is compared: trained models, the native ensemble with its libraries, the policy, real rows."""

    models: models.Models
    ensemble: Ensemble
    policy: policy.Policy
    real: Rows
    magnitude: float
    """Sum over the trees of their largest leaf."""
    cuts: list[Rows]
    """For each feature, every threshold of booster and forest."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    history = generate(SyntheticConfig(customers=2_000, merchants=300, days=90, fraud_rate=0.01, seed=3))
    matrix = features.build(history, threads=2)
    fraud = history["is_fraud"].fill_null(0).to_numpy().astype(np.int8)
    held_out = len(fraud) * 3 // 4
    trained = models.fit(matrix.values[:held_out], fraud[:held_out], matrix.names, OPTIONS, silent, "booster")
    assert trained.booster is not None
    margin = trained.score(matrix.values[held_out:])[1]
    amounts = history["amount_minor"].to_numpy()[held_out:]
    files = artifacts.model_files(trained.forest, trained.booster)
    ensemble = Ensemble(files["ensemble.bin"])
    info = compile_ensemble(
        files["booster.treelite"], files["forest.treelite"], tmp_path_factory.mktemp("compiled")
    )
    assert info.booster is not None
    assert info.forest is not None
    ensemble.load_compiled(info.booster.path, info.forest.path)
    splits = trained.booster.trees_to_dataframe()
    leaves = splits[splits["Feature"] == "Leaf"]
    return Subject(
        models=trained,
        ensemble=ensemble,
        policy=policy.choose(margin, fraud[held_out:], amounts, OPTIONS),
        real=matrix.values,
        magnitude=float(leaves.groupby("Tree")["Gain"].apply(lambda gain: gain.abs().max()).sum()),
        cuts=[_cuts(trained, splits, name, column) for column, name in enumerate(matrix.names)],
    )


def _cuts(trained: models.Models, splits: object, name: str, column: int) -> Rows:
    booster = splits.loc[splits["Feature"] == name, "Split"].to_numpy(np.float32)  # type: ignore[attr-defined, index]  # pandas has no types here
    forest = [tree.tree_ for tree in trained.forest.model.estimators_]
    isolation = [tree.threshold[tree.feature == column].astype(np.float32) for tree in forest]
    return np.concatenate([booster, *isolation])


def _difficult(subject: Subject) -> Iterator[Rows]:
    """Blocks of real rows with a third of the values moved onto or beside a split, 3% extremes, 5% holes."""
    random = np.random.default_rng(17)
    for _ in range(0, ROWS, BLOCK):
        rows = subject.real[random.integers(0, len(subject.real), BLOCK)].copy()
        for column, cuts in enumerate(subject.cuts):
            at = np.flatnonzero(random.random(BLOCK) < 0.33)
            if cuts.size:
                beside = np.array([-np.inf, 0.0, np.inf], np.float32)[random.integers(0, 3, at.size)]
                chosen = random.choice(cuts, at.size)
                moved = np.nextafter(chosen, np.where(beside == 0, chosen, beside))
                rows[at, column] = moved
        extreme = random.random(rows.shape) < 0.03
        rows[extreme] = random.choice(EXTREMES, int(extreme.sum()))
        rows[random.random(rows.shape) < 0.05] = np.nan
        # A tenth is left as it is: what production sees.
        real = subject.real[random.integers(0, len(subject.real), BLOCK // 10)]
        rows[: len(real)] = real
        yield rows


def _libraries(subject: Subject, rows: Rows, anomaly: Rows) -> tuple[npt.NDArray[np.float64], Rows]:
    """Return scikit-learn's anomaly and XGBoost's margin.

    Both refuse infinities; no split is as large as the largest float, which stands in for them.
    """
    finite = np.clip(rows, -LARGEST, LARGEST)
    isolation = -subject.models.forest.model.score_samples(subject.models.forest.filled(finite))
    assert subject.models.booster is not None
    columns = np.column_stack([finite, anomaly])
    return isolation, subject.models.booster.inplace_predict(columns, predict_type="margin")


def test_every_backend_decides_as_the_libraries_that_trained(subject: Subject) -> None:
    bound = 1e-6 * subject.magnitude
    seen = {"rows": 0, "flips": 0, "unequal anomalies": 0}
    actions = np.zeros(3, np.int64)
    largest, relative = 0.0, 0.0
    for rows in _difficult(subject):
        anomaly, margin = subject.ensemble.score(rows, "reference")
        isolation, boosted = _libraries(subject, rows, anomaly)
        # Both round the same double sum; only the exponential may differ, by one float32 step.
        assert np.abs(anomaly - isolation).max() <= 2.0**-24
        assert np.array_equal(margin, boosted)
        expected = subject.policy.actions(subject.policy.score(anomaly, boosted))
        for backend in {"avx512", "avx2", "portable"} & set(subject.ensemble.backends()):
            native = subject.ensemble.score(rows, backend)
            assert np.array_equal(native[0], anomaly)
            assert np.array_equal(native[1], boosted)
        compiled_anomaly, compiled = subject.ensemble.score(rows, "compiled", threads=2)
        assert np.abs(compiled_anomaly - anomaly).max() <= 2.0**-23
        # A last bit of the anomaly that falls onto a split of the booster is another input, not another sum.
        same = compiled_anomaly == anomaly
        apart = np.abs(compiled - boosted)[same]
        largest = max(largest, float(apart.max()))
        relative = max(relative, float((apart / np.maximum(1.0, np.abs(boosted[same]))).max()))
        decided = subject.policy.actions(subject.policy.score(compiled_anomaly, compiled))
        seen["rows"] += len(rows)
        seen["flips"] += int(np.count_nonzero(decided != expected))
        seen["unequal anomalies"] += int(np.count_nonzero(~same))
        actions += np.bincount(expected, minlength=3)
    print(f"\n{seen}, approve/review/block {actions.tolist()}")
    print(f"tl2cgen: off by {largest:.2e} at most (bound {bound:.2e}), {relative:.1e} of max(1, |margin|)")
    assert seen["rows"] == ROWS
    assert largest <= bound
    assert seen["flips"] == 0
    assert seen["unequal anomalies"] <= ROWS // 10_000
    assert actions.min() > 0, "rows on both sides of both thresholds, or no flip could show"


def test_the_libraries_read_the_same_trees(subject: Subject) -> None:
    assert subject.models.booster is not None
    files = artifacts.model_files(subject.models.forest, subject.models.booster)
    for name, trees in (("booster", OPTIONS.booster.trees), ("forest", OPTIONS.forest.trees)):
        assert treelite.Model.deserialize_bytes(files[f"{name}.treelite"]).num_tree == trees
    assert subject.ensemble.feature_count == len(features.names())
