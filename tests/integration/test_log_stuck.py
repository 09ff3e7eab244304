"""A standard error that nobody reads: no call waits for it, and what is not written is counted."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import grpc
from scoring_process import scoring_process
from scoring_server import call
from small_bundle import scoring_bundle

from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction

# At this level the libraries of the transport write several lines a call: more than the queue holds.
CALLS = 600


def filled(pipe: int) -> None:
    """Fill a pipe; by another description of it, so that its other writers still wait."""
    writer = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.close(writer)


def emptied(pipe: int) -> None:
    """Read a pipe until its last writer is gone."""
    while os.read(pipe, 65_536):
        pass


def dropped(metrics: str) -> float:
    with urllib.request.urlopen(f"http://{metrics.removeprefix('http://')}/metrics", timeout=10) as page:
        found = re.search(r"^fraudengine_log_lines_dropped_total (\S+)$", page.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_log_that_nobody_reads_stops_no_call(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    drain = threading.Thread(target=emptied, args=(reader,))
    settings = ("serve.native_port=0", "serve.log_scores=all", "log.level=debug")
    with scoring_process(scoring_bundle(tmp_path), *settings, said=writer) as service:
        assert service.native is not None
        assert service.metrics is not None
        filled(writer)
        # From here on the service alone has the pipe's other end.
        os.close(writer)
        for address in (service.native, service.address):
            with grpc.insecure_channel(address) as channel:
                for number in range(CALLS):
                    asked = Transaction(transaction_id=f"t{number}", customer_id="c", amount_minor=1)
                    asked.event_time_micros = time.time_ns() // 1_000
                    answer = call(channel, "Score", ScoreRequest(transaction=asked).SerializeToString())
                    assert ScoreResponse.FromString(answer).decision.transaction_id == f"t{number}"
        assert dropped(service.metrics) > 0
        drain.start()
    drain.join()
    os.close(reader)
