"""Compiling a bundle: the library decides as the kernels do, and an edited or stale one is refused."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_history import small_history

from fraudengine.bundle import Bundle
from fraudengine.errors import BundleError, CompileError
from fraudengine.replay import replay
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train
from fraudengine.training.compile import find_compiler
from fraudengine.training.compile_bundle import compile_bundle, find_compiled, host_target

OPTIONS = TrainOptions(
    booster=BoosterOptions(trees=10, depth=4), forest=ForestOptions(trees=5, rows_per_tree=32), threads=1
)


def has_compiler() -> bool:
    try:
        find_compiler()
    except CompileError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C compiler on PATH")


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return small_history(days=30)


@pytest.fixture(scope="module")
def compiled(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = train(history, OPTIONS, tmp_path_factory.mktemp("compile") / "model").bundle
    compile_bundle(bundle.path)
    return bundle


@needs_compiler
def test_the_library_decides_as_the_kernels_do(compiled: Bundle, history: pl.DataFrame) -> None:
    delay = timedelta(days=3)
    own = replay(compiled, history, label_delay=delay, backend="reference").decisions
    library = replay(compiled, history, label_delay=delay, backend="compiled").decisions
    assert library["action"].equals(own["action"])
    np.testing.assert_allclose(library["margin"], own["margin"], rtol=1e-6, atol=1e-6)


@needs_compiler
def test_the_bundle_and_its_hash_stay_as_they_were(compiled: Bundle) -> None:
    assert Bundle.load(compiled.path).hash == compiled.hash
    found = find_compiled(compiled)
    assert found is not None
    assert set(found.libraries) == {"booster", "forest"}
    assert [place.name for place in (compiled.path / "compiled").iterdir()] == [host_target()]


@needs_compiler
def test_an_edited_library_never_runs(compiled: Bundle, history: pl.DataFrame, tmp_path: Path) -> None:
    copy = shutil.copytree(compiled.path, tmp_path / "model")
    library = copy / "compiled" / host_target() / "booster.so"
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(bytes(data))
    with pytest.raises(BundleError, match="was changed"):
        replay(copy, history.head(10), backend="compiled")
    assert replay(copy, history.head(10)).decisions.height == 10


@needs_compiler
def test_a_library_of_another_model_is_stale(compiled: Bundle, history: pl.DataFrame, tmp_path: Path) -> None:
    other = train(history.head(5000), OPTIONS, tmp_path / "other").bundle
    shutil.copytree(compiled.path / "compiled", other.path / "compiled")
    with pytest.raises(BundleError, match="stale"):
        other.engine(backend="compiled")
    compile_bundle(other.path)
    other.engine(backend="compiled")


@needs_compiler
def test_a_library_for_another_processor_is_refused(compiled: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(compiled.path, tmp_path / "model")
    place = copy / "compiled" / host_target() / "compiled.json"
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "target": "linux-x86_64-000000000000"}))
    with pytest.raises(BundleError, match="stale: its target"):
        Bundle.load(copy).engine(backend="compiled")
