"""Every call has an id: in its answer, in the log, and from the caller where that is sane."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from scoring_server import PATH, TIMEOUT_SECONDS, running
from small_bundle import small_bundle
from small_history import small_history

from fraudengine.training import BoosterOptions, ForestOptions
from fraudengine.wire.monitoring_pb2 import GetTransactionRequest
from fraudengine.wire.scoring_pb2 import ScoreRequest
from fraudengine.wire.transaction_pb2 import Transaction

CARD = "4111111111111111"
GET = "/fraudengine.v1.MonitoringService/GetTransaction"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), tmp_path_factory.mktemp("bundle") / "model", booster, forest)


def id_after(channel: grpc.Channel, path: str, request: Any, sent: str | None) -> str:
    """Make a call, whatever comes of it; return the id in its trailing metadata."""
    metadata = (("x-request-id", sent),) if sent else ()
    call = channel.unary_unary(path).future(
        request.SerializeToString(), timeout=TIMEOUT_SECONDS, metadata=metadata
    )
    ids = [value for key, value in call.trailing_metadata() if key == "x-request-id"]
    assert len(ids) == 1
    return str(ids[0])


def scoring(name: str, amount_minor: int = 5) -> ScoreRequest:
    now = time.time_ns() // 1_000
    return ScoreRequest(
        transaction=Transaction(
            transaction_id=name, event_time_micros=now, customer_id="c", amount_minor=amount_minor
        )
    )


def lines_of(text: str) -> dict[str, dict[str, Any]]:
    """Return the lines about calls by their id."""
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {each["request_id"]: each for each in told if each.get("target") == "call"}


def test_ids_and_lines(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = {"postgres.enabled": False, "redis.enabled": False, "log.format": "json"}
    with running(bundle, settings) as server, grpc.insecure_channel(server.address) as channel:
        assert id_after(channel, PATH + "Score", scoring("good"), "mine-good") == "mine-good"
        assert id_after(channel, PATH + "Score", scoring("bad", -1), "mine-bad") == "mine-bad"
        assert id_after(channel, GET, GetTransactionRequest(transaction_id=CARD), "mine-get") == "mine-get"
        made = id_after(channel, GET, GetTransactionRequest(transaction_id="t"), None)
        other = id_after(channel, GET, GetTransactionRequest(transaction_id="t"), CARD)
        assert len({made, other, "mine-get"}) == 3
    shown = capfd.readouterr()
    told = lines_of(shown.err)
    # A call of scoring that went well is not worth a line.
    assert set(told) == {"mine-bad", "mine-get", made, other}
    assert told["mine-bad"]["code"] == told["mine-get"]["code"] == "INVALID_ARGUMENT"
    assert told[made]["code"] == "UNIMPLEMENTED"
    assert told[made]["method"] == GET
    assert told[made]["ms"] > 0
    assert CARD not in shown.out + shown.err


def test_all_scores_are_told_when_asked_for(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = {"serve.log_scores": "all", "log.format": "json"}
    with running(bundle, settings) as server, grpc.insecure_channel(server.address) as channel:
        for number in range(200):
            id_after(channel, PATH + "Score", scoring(f"t{number}"), f"id-{number}")
    told = lines_of(capfd.readouterr().err)
    assert told["id-0"]["code"] == "OK"
    left_out = sum(each.get("left_out", 0) for each in told.values())
    assert 100 <= len(told) <= 200
    assert len(told) + left_out <= 200
