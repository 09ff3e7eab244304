"""`fraudengine serve` as a process: it says where it is, answers, and drains on SIGTERM."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
from scoring_process import scoring_process
from scoring_server import call
from small_bundle import scoring_bundle

from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction


def test_it_answers_and_drains(tmp_path: Path) -> None:
    asked = Transaction(transaction_id="t1", customer_id="c1", amount_minor=1_999)
    asked.event_time_micros = time.time_ns() // 1_000
    with scoring_process(scoring_bundle(tmp_path)) as process:
        with grpc.insecure_channel(process.address) as channel:
            answer = call(channel, "Score", ScoreRequest(transaction=asked).SerializeToString())
        assert ScoreResponse.FromString(answer).decision.transaction_id == "t1"
