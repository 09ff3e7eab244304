"""The state of a service that decides by itself: kept across restarts, refused when it is not its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from scoring_server import PATH, running
from small_bundle import small_bundle
from small_history import small_history
from stream_process import eventually
from wire_messages import transaction_bytes

from fraudengine.bundle import Bundle
from fraudengine.errors import ConfigError, SnapshotError
from fraudengine.serving.own_state import FILE
from fraudengine.training import BoosterOptions, ForestOptions
from fraudengine.wire.decision_pb2 import DEGRADED_REASON_COLD_STATE, Decision
from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction

ROWS = 900


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), tmp_path_factory.mktemp("bundle") / "model", booster, forest)


def scored(bundle: Path, settings: Mapping[str, object], rows: range) -> list[Decision]:
    """Return what a service of these settings answers to rows of the history, one by one."""
    frame = small_history(labels=False).head(ROWS)[rows.start : rows.stop]
    asked = [ScoreRequest(transaction=Transaction.FromString(each)) for _, each in transaction_bytes(frame)]
    with running(bundle, settings) as server, grpc.insecure_channel(server.address) as channel:
        score = channel.unary_unary(PATH + "Score")
        return [ScoreResponse.FromString(score(each.SerializeToString())).decision for each in asked]


def test_a_restart_keeps_windows_and_what_is_warm(bundle: Path, tmp_path: Path) -> None:
    settings = {"serve.state_folder": tmp_path, "serve.warm_transactions": 400}
    decisions = [each for at in range(0, ROWS, 300) for each in scored(bundle, settings, range(at, at + 300))]
    expected = Bundle.load(bundle).engine().process(small_history(labels=False).head(ROWS))
    assert [each.score for each in decisions] == expected.score.tolist()
    assert [each.action - 1 for each in decisions] == expected.action.tolist()
    cold = [DEGRADED_REASON_COLD_STATE in each.degraded_reasons for each in decisions]
    assert cold.index(False) == 399, "the restart at 300 is not the beginning"
    assert not any(cold[399:])


def test_what_was_written_in_between_is_there_after_a_crash(bundle: Path, tmp_path: Path) -> None:
    settings = {"serve.state_folder": tmp_path / "one", "serve.snapshot_interval_seconds": 0.1}
    rows = small_history(labels=False).head(50)
    asked = [ScoreRequest(transaction=Transaction.FromString(each)) for _, each in transaction_bytes(rows)]
    other = tmp_path / "other"
    other.mkdir()
    with running(bundle, settings) as server, grpc.insecure_channel(server.address) as channel:
        for each in asked:
            channel.unary_unary(PATH + "Score")(each.SerializeToString())
        answered = time.time()
        file = tmp_path / "one" / FILE
        eventually(lambda: file.exists() and file.stat().st_mtime > answered, 10, "a state of all rows")
        with pytest.raises(ConfigError, match=r"serve\.state_folder .* is in use"), running(bundle, settings):
            pass
        # What a process would find that was killed now.
        shutil.copy(file, other / FILE)
    again = scored(bundle, {"serve.state_folder": other}, range(50))
    assert [each.repeated_id for each in again].count(True) > 25, "recent ids are remembered"


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda data: data[:-100], {}, "truncated"),
        (lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:], {}, "checksum"),
        (lambda _: b"FRAUDSTA something else", {}, "is not the state of a scoring service"),
        (
            lambda data: data,
            {"engine.lateness_seconds": 60},
            r"lateness_seconds = 3600\.0, which is 60",
        ),
        (lambda data: data, {"engine.reference_currency": "USD"}, "EUR"),
    ],
)
def test_a_foreign_or_damaged_state_is_refused(
    bundle: Path, tmp_path: Path, change: object, settings: dict[str, object], reason: str
) -> None:
    kept: dict[str, object] = {"serve.state_folder": tmp_path}
    scored(bundle, kept, range(20))
    file = tmp_path / FILE
    file.write_bytes(change(file.read_bytes()))  # type: ignore[operator]  # one of the functions above
    with pytest.raises(SnapshotError, match=reason) as caught, running(bundle, {**kept, **settings}):
        pass
    assert str(file) in str(caught.value)
