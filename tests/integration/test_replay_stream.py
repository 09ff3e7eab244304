"""Replay batch by batch: the decisions of the replay in memory, from any format, cut anywhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from small_bundle import small_bundle
from small_history import disorderly_history

from fraudengine.datasets import read_history, write_history
from fraudengine.datasets.batches import DISORDER, HistoryBatches
from fraudengine.errors import InputError
from fraudengine.replay import replay
from fraudengine.replay_stream import replay_stream
from fraudengine.training import BoosterOptions, ForestOptions

DELAY = timedelta(days=3)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return disorderly_history(customers=400, merchants=60, days=40)


@pytest.fixture(scope="module")
def bundle(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=10, depth=4), ForestOptions(trees=10, rows_per_tree=64)
    return small_bundle(history, tmp_path_factory.mktemp("bundle") / "model", booster, forest, test_days=7)


def streamed(bundle: Path, path: Path, out: Path, *, rows: int) -> pl.DataFrame:
    batches = HistoryBatches(path, rows=rows)
    counts = replay_stream(bundle, batches, out, label_delay=DELAY, features=True)
    decisions = pl.read_parquet(out)
    assert counts.decisions == decisions.height == batches.rows_read - batches.rows_rejected
    assert sum(counts.actions.values()) + counts.rejected == counts.decisions
    return decisions


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("rows", [97, 1_000, 1_000_000])
def test_the_decisions_are_those_of_a_replay_in_memory(
    suffix: str, rows: int, bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / f"history.{suffix}"
    write_history(history, path)
    whole = replay(bundle, read_history(path), label_delay=DELAY, features=True).decisions
    assert whole["action"].n_unique() > 1
    found = streamed(bundle, path, tmp_path / "out.parquet", rows=rows)
    assert found.schema == whole.schema
    assert found.equals(whole, null_equal=True)


def test_files_of_a_folder_or_a_pattern_follow_one_another(
    bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    ordered = history.sort("event_time", maintain_order=True)
    folder = tmp_path / "parts"
    folder.mkdir()
    third = ordered.height // 3
    for part, begin in enumerate(range(0, ordered.height, third)):
        write_history(ordered[begin : begin + third], folder / f"part-{part}.parquet")
    (folder / "README").write_text("not a history")
    whole = replay(bundle, ordered, label_delay=DELAY, features=True).decisions
    for path in (folder, folder / "part-*.parquet"):
        found = streamed(bundle, path, tmp_path / "out.parquet", rows=1_000)
        assert found.equals(whole, null_equal=True)


def test_bad_records_in_the_middle_are_refused_and_the_rest_goes_on(
    bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "history.jsonl"
    write_history(history, path)
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    path.write_bytes(b"".join([*lines[:middle], b'{"half": \n', b"\xff\xfe\n", *lines[middle:]]))
    known = read_history(path)
    assert known.rows_rejected == 2
    whole = replay(bundle, known, label_delay=DELAY, features=True).decisions
    found = streamed(bundle, path, tmp_path / "out.parquet", rows=100)
    assert found.equals(whole, null_equal=True)


def test_a_row_that_comes_too_late_is_told_by_its_id(
    bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    ordered = history.sort("event_time", maintain_order=True)
    late = ordered[:1]
    path, out = tmp_path / "history.parquet", tmp_path / "out.parquet"
    write_history(pl.concat([ordered[1:], late]), path)
    with pytest.raises(InputError, match=rf"{late['transaction_id'][0]}.*{DISORDER}.*sort the history"):
        replay_stream(bundle, HistoryBatches(path, rows=100), out)
    assert not list(tmp_path.glob("*out.parquet*")), "no half file is left behind"


def test_a_label_known_before_transactions_that_are_decided_is_told_by_its_id(
    bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    ordered = history.sort("event_time", maintain_order=True)
    first = ordered["event_time"][0]
    last = pl.int_range(pl.len()) == pl.len() - 1
    wrong = ordered.with_columns(
        is_fraud=pl.when(last).then(1).otherwise("is_fraud").cast(pl.Int8),
        label_known_time=pl.when(last).then(pl.lit(first)).otherwise("label_known_time"),
    )
    path = tmp_path / "history.parquet"
    write_history(wrong, path)
    with pytest.raises(InputError, match=f"{ordered['transaction_id'][-1]}.*before the transaction itself"):
        replay_stream(bundle, HistoryBatches(path, rows=100), tmp_path / "out.parquet")


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        HistoryBatches(tmp_path)
    with pytest.raises(InputError, match="matches no file"):
        HistoryBatches(tmp_path / "payments-*.csv")
