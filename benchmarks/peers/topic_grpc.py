"""gRPC: our scoring service and its inference protocol beside a bare grpcio server with the same answers.

- `Score`: single transactions, 16 calls at once, by our own load test, by both of our transports. The bare
  server scores nothing.
- `ModelInfer`: rows of features from a stock client (`tritonclient`), one call after the other, 1 and 256
  rows.

Scores that the stock client receives are compared with the model's before anything is timed. Processor time
is that of the server's process alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import polars as pl
from load_requests import requests

from calls import tree_seconds
from environments import pins, python
from equality import check_equal
from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.client.connection import SCORE, Connection
from fraudengine.loadtest import Plan
from fraudengine.loadtest import run as load
from fraudengine.loadtest.requests import pool
from fraudengine.wire.inference_pb2 import ModelInferRequest
from machine import facts
from report import Run
from serving import trained
from turns import Contestant, take_turns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
INFER = "/inference.GRPCInferenceService/ModelInfer"
CALLS, BATCH = 5_000, 256
LEFT_OUT = {
    "Triton, KServe": "servers of their own that come as container images: there is no engine for these here"
}


@contextmanager
def service(bundle: Path) -> Iterator[tuple[str, str, int]]:
    """Run our service; yield the addresses of its transports, grpcio's first, and its process id."""
    program = "import sys; from fraudengine.cli import main; main(sys.argv[1:])"
    told = ["serve", str(bundle), "--json"]
    ports = ("serve.port=0", "serve.native_port=0", "http.port=0")
    for setting in (*ports, "serve.inference=true", "log.level=warn"):
        told += ["--set", setting]
    with subprocess.Popen([sys.executable, "-c", program, *told], stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            text = json.loads(b"".join(iter(running.stdout.readline, b"}\n")) + b"}")
            yield str(text["address"]), str(text["native"]), running.pid
        finally:
            running.terminate()
            running.wait()


class Measured:
    """A server under a load: `calls.timed`, with the processor time of the server."""

    def __init__(self, name: str, address: str, pid: int, send: Callable[[str], float], units: int) -> None:
        self.name, self.address, self.pid, self.send, self.units = name, address, pid, send, units

    def call(self, _name: str) -> dict[str, float]:
        """Send the load once."""
        before = tree_seconds(self.pid)
        wall = self.send(self.address)
        return {"units": self.units, "wall": wall, "cpu": tree_seconds(self.pid) - before}


def score_load(count: int) -> Callable[[str], float]:
    """Return what sends single transactions, 16 at once."""

    def send(address: str) -> float:
        connection = Connection(address=address, timeout_seconds=10.0, retries=0)
        found = load(Plan(connection=connection, calls=count, concurrency=16)).as_dict()
        if set(found["statuses"]) != {"OK"}:
            raise SystemExit(f"calls failed: {found['statuses']}")
        return count / float(found["calls_per_second"])

    return send


def infer_bytes(rows: np.ndarray) -> bytes:
    """Return a `ModelInferRequest` for rows."""
    tensor = ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=list(rows.shape))
    request = ModelInferRequest(
        model_name="fraudengine", inputs=[tensor], raw_input_contents=[rows.tobytes()]
    )
    return bytes(request.SerializeToString())


def answer(address: str, method: str, request: bytes) -> bytes:
    """Return what our service answers, for the bare server to repeat."""
    with grpc.insecure_channel(address) as channel:
        told: bytes = channel.unary_unary(method)(request, timeout=10)
    return told


def bare(stack: ExitStack, method: str, told: bytes) -> tuple[str, int]:
    """Start a bare server; return its address and process id."""
    server = Contestant(
        "bare", python("grpc"), str(HERE / "work_grpc.py"), "echo", method, told.hex()
    ).ready()
    stack.callback(server.close)
    return str(server.call("address")), server.pid


def prepare(folder: Path, bundle: Path) -> np.ndarray:
    """Write rows of features; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    golden = pl.read_parquet(bundle / "golden.parquet")
    rows = np.ascontiguousarray(golden.select(features.names()).to_numpy(), dtype=np.float32)
    np.save(folder / "rows.npy", rows)
    return rows


def measure(options: argparse.Namespace) -> Run | None:
    """Start the servers, compare, take turns."""
    folder, count = options.work / "grpc", options.count or CALLS
    bundle = trained(HERE.parents[1] / "build" / "benchmark")
    rows = prepare(folder, bundle)
    machine = facts("grpcio", "protobuf")
    words, native_words = "bare grpcio server, nothing scored", "fraudengine, native transport"
    with ExitStack() as stack:
        ours, native, pid = stack.enter_context(service(bundle))
        client = Contestant(
            "tritonclient", python("triton"), str(HERE / "work_grpc.py"), "client", str(folder)
        ).ready()
        stack.callback(client.close)
        theirs = np.load(client.call("results", address=ours))
        wanted = Bundle.load(bundle).predictor().predict(rows)[0]
        equal = [
            f"scores by stock client: {check_equal('tritonclient', wanted, theirs, tolerance=0.0):g} apart"
        ]
        asked = next(iter(requests(pool(1, 1), f"first-{time.time_ns()}", 0)))
        loads = {f"Score, 16 at once, {count:,} calls": (SCORE, asked, score_load(count), count)}
        for batch in (1, BATCH):
            sent = max(200, count // 5 // (1 if batch == 1 else 4))

            def send(address: str, batch: int = batch, sent: int = sent) -> float:
                return float(client.call("run", address=address, batch=batch, count=sent))

            loads[f"ModelInfer by stock client, {batch} rows"] = (
                INFER,
                infer_bytes(rows[:batch]),
                send,
                sent,
            )
        cases: dict[str, Any] = {}
        for case, (method, request, sender, units) in loads.items():
            echo = bare(stack, method, answer(ours, method, request))
            cases[case] = [(Measured("fraudengine", ours, pid, sender, units), {})]
            if method == SCORE:
                cases[case].append((Measured(native_words, native, pid, sender, units), {}))
            cases[case].append((Measured(words, *echo, sender, units), {}))
        figures = take_turns(cases, options.rounds)
    cpu = {(each.case, each.contestant): each.cpu_us for each in figures}
    first = next(iter(cases))
    aims = [
        (
            f"processor time of a call, bare grpcio server to {name}, scoring included",
            1.0,
            cpu[first, words] / cpu[first, name],
        )
        for name in ("fraudengine", native_words)
    ]
    versions = {
        name: {each: pins(name)[each] for each in ("grpcio", "protobuf")} for name in ("grpc", "triton")
    }
    versions["triton"]["tritonclient"] = pins("triton")["tritonclient"]
    command = f"python benchmarks/peers/run.py grpc --rounds {options.rounds}"
    return Run("grpc", command, "call", options.rounds, machine, versions, figures, equal, LEFT_OUT, [], aims)
