"""`fraudengine serve` as a process: it says where it is, answers, and drains on SIGTERM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
from scoring_server import call
from small_bundle import scoring_bundle

from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction


def test_it_answers_and_drains(tmp_path: Path) -> None:
    bundle = scoring_bundle(tmp_path)
    program = "import sys; from fraudengine.cli import main; main(sys.argv[1:])"
    options = ["--json", "--set", "serve.port=0", "--set", "http.port=0"]
    command = [sys.executable, "-c", program, "serve", str(bundle), *options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            told = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
            asked = Transaction(
                transaction_id="t1",
                event_time_micros=time.time_ns() // 1000,
                customer_id="c1",
                amount_minor=1_999,
            )
            with grpc.insecure_channel(told["address"]) as channel:
                answer = call(channel, "Score", ScoreRequest(transaction=asked).SerializeToString())
            assert ScoreResponse.FromString(answer).decision.transaction_id == "t1"
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            assert (process.returncode, b"drained" in said) == (0, True)
        finally:
            process.kill()
