"""Drift of features, and what a bundle remembers of its training: distributions, held-out scores."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_bundle import scoring_bundle

from fraudengine import features
from fraudengine.bundle import Bundle, write_bundle
from fraudengine.drift import DRIFT_FILE, HELD_OUT_FILE, Reference, held_out_rows, population_stability
from fraudengine.errors import BundleError
from fraudengine.training.reference import drift_json, held_out_parquet

GENERATOR = np.random.default_rng(7)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(scoring_bundle(tmp_path_factory.mktemp("bundle")))


def copied(bundle: Bundle, out: Path, changed: dict[str, bytes | None]) -> Bundle:
    """Return a copy of a bundle with other files; `None`: without this one."""
    files: dict[str, bytes | None] = {
        name: bundle.file(name).read_bytes() for name in bundle.content["files"]
    }
    kept = {name: data for name, data in (files | changed).items() if data is not None}
    content = {name: value for name, value in bundle.content.items() if name != "files"}
    return write_bundle(out, kept, content)


def test_the_index_is_that_of_two_samples(bundle: Bundle, tmp_path: Path) -> None:
    names = ["steady", "shifted", "gone"]
    before = GENERATOR.normal(size=(4_000, 3)).astype(np.float32)
    after = GENERATOR.normal(size=(3_000, 3)).astype(np.float32)
    after[:, 1] += 1
    after[:1_500, 2] = np.nan
    other = copied(bundle, tmp_path / "other", {DRIFT_FILE: drift_json(before, names)})
    reference = Reference.of(other)
    assert reference is not None
    told = reference.stability(tuple(names), after)
    for column, name in enumerate(names):
        assert told[name] == pytest.approx(
            population_stability(before[:, column], after[:, column]), abs=1e-6
        )
    assert told["steady"] < 0.1 < 0.25 < told["shifted"]
    assert told["gone"] > 0.25
    assert math.isnan(reference.stability(("steady",), after[:0])["steady"])


def test_a_trained_bundle_has_every_feature_and_its_held_out_scores(bundle: Bundle) -> None:
    reference = Reference.of(bundle)
    assert reference is not None
    assert list(reference.edges) == sorted(features.catalogue()["name"])
    assert all(shares.sum() == pytest.approx(1) for shares in reference.shares.values())
    rows = held_out_rows(bundle)
    assert rows is not None
    assert rows["weight"].sum() == bundle.content["windows"]["validation"]["transactions"]
    assert rows["is_fraud"].sum() == bundle.content["metrics"]["validation"]["frauds"]
    assert rows["score"].is_between(0, 1).all()


def test_an_older_bundle_has_neither(bundle: Bundle, tmp_path: Path) -> None:
    older = copied(bundle, tmp_path / "older", {DRIFT_FILE: None, HELD_OUT_FILE: None})
    assert Reference.of(older) is None
    assert held_out_rows(older) is None


@pytest.mark.parametrize("damaged", [b"", b"{}", json.dumps({"rows": 1, "features": {"a": 3}}).encode()])
def test_a_damaged_file_is_refused(bundle: Bundle, tmp_path: Path, damaged: bytes) -> None:
    broken = copied(bundle, tmp_path / "broken", {DRIFT_FILE: damaged, HELD_OUT_FILE: b"nothing"})
    with pytest.raises(BundleError, match=DRIFT_FILE):
        Reference.of(broken)
    with pytest.raises(BundleError, match=HELD_OUT_FILE):
        held_out_rows(broken)


def test_the_weight_of_a_sample_adds_up() -> None:
    fraud = np.array([1] + [0] * 450_000, dtype=np.int8)
    data = held_out_parquet(
        np.linspace(0, 1, fraud.size, dtype=np.float32), fraud, np.ones(fraud.size, dtype=np.int64), None, 3.0
    )
    rows = pl.read_parquet(data)
    assert rows.height < 200_002
    assert rows["weight"].sum() == pytest.approx(fraud.size)


def test_stability_index_is_zero_for_the_same_and_large_for_a_shifted_sample() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    assert population_stability(values, values) == pytest.approx(0, abs=1e-12)
    assert population_stability(values, values + 2) > 1


def test_stability_index_sees_values_going_missing() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    holes = np.where(np.arange(values.size) % 2 == 0, np.nan, values)
    assert population_stability(values, holes) > 0.25
    assert population_stability(np.full(100, np.nan), np.full(50, np.nan)) == pytest.approx(0, abs=0.1)
    assert np.isnan(population_stability([], values))
