"""The scoring service, by both of its transports, beside a bare grpcio server; batches, streams, many users.

    python benchmarks/serving.py [--rounds 3] [--work FOLDER] [--ghz PATH] [--jobs unary,open,batch,users]

`service` is the port of grpcio, `native` that of the native transport, both of one process. The bare server
is `grpc.aio` with the same options; it answers every call with the bytes of one decision, looking at nothing.
Each process runs on this machine, beside whoever sends. They take turns, and medians of the rounds are
compared.

- `unary`: closed loop, 16 calls at once; by our own `loadtest`, and by ghz where it is: it is in Go and takes
  less of the cores. It reads a descriptor set, because it cannot parse `optional`.
- `open`: 1,000 calls a second, evenly spaced, from the intended send time.
- `users`: 10,000 calls, 200 at once.
- `batch`: ScoreBatch of 256, two calls at once, end to end: transactions decided in a second.
- `stream`: ScoreStream, 10,000 transactions on one stream, and on each of four.

A regression in `unary` means that a call costs more than gRPC itself; in `open`, that it waits somewhere; in
`batch`, that a transaction costs more on its way in, through the engine, or out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import grpc
from load_requests import requests

from fraudengine.client.connection import SCORE, Connection
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.loadtest import Plan
from fraudengine.loadtest import run as load
from fraudengine.loadtest.requests import pool
from fraudengine.training import TrainOptions, train
from machine import facts, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTO = Path(__file__).resolve().parents[1] / "proto"
CALLS = 10_000
SECONDS = 10
BATCH = 256
BATCHES = 2_000
SERVERS = ("service", "native", "bare")
OURS = ("service", "native")
Row = dict[str, float]


def trained(work: Path) -> Path:
    """Return a bundle of 200 trees and 100 isolation trees; trained once."""
    bundle = work / "bundle"
    if not (bundle / "manifest.json").exists():
        train(generate(SyntheticConfig(days=60)), TrainOptions(), bundle)
    return bundle


async def bare(answer: bytes) -> None:
    """Serve the same bytes to every call, until terminated."""

    async def same(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return answer

    server = grpc.aio.server(maximum_concurrent_rpcs=512, options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(same)
    service, _, method = SCORE.removeprefix("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"address": f"127.0.0.1:{port}"}, indent=2), flush=True)
    await server.wait_for_termination()


@contextmanager
def process(*command: str) -> Iterator[dict[str, str]]:
    """Run a server; yield what it says of its addresses."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            text = b"".join(iter(running.stdout.readline, b"}\n")) + b"}"
            yield json.loads(text)
        finally:
            running.terminate()
            running.wait()


@contextmanager
def servers(bundle: Path) -> Iterator[dict[str, str]]:
    """Run the servers; yield their addresses by name."""
    program = "import sys; from fraudengine.cli import main; main(sys.argv[1:])"
    ports = [f"--set={name}=0" for name in ("serve.port", "serve.native_port", "http.port")]
    with process("-c", program, "serve", str(bundle), "--json", *ports) as service:
        with grpc.insecure_channel(service["address"]) as channel:
            answer: bytes = channel.unary_unary(SCORE)(next(requests(pool(1, 1), "first", 0)), timeout=10)
        with process(__file__, "--bare", answer.hex()) as echo:
            yield {"service": service["address"], "native": service["native"], "bare": echo["address"]}


def own(address: str, **told: Any) -> Row:  # noqa: ANN401 - fields of Plan
    """Run our load test; return rates and latencies."""
    plan = Plan(connection=Connection(address=address, timeout_seconds=10.0, retries=0), **told)
    found = load(plan).as_dict()
    assert set(found["statuses"]) == {"OK"}, found["statuses"]
    latency = {name: found["latency_ms"][name] for name in ("p50", "p95", "p99", "p99.9")}
    rates = {name: found[name] for name in ("calls_per_second", "transactions_per_second")}
    rates["sender_busy"] = found["sender_busy"]
    late = {"sent_late_p99": found["send_delay_ms"]["p99"]} if "send_delay_ms" in found else {}
    return {**rates, **latency, **late}


def ghz(program: Path, protoset: Path, address: str) -> Row:
    """Run ghz, closed loop with 16 callers; return rate and latencies."""
    asked = {
        "transaction_id": f"ghz-{time.time_ns()}-{{{{.RequestNumber}}}}",
        "event_time_micros": str(time.time_ns() // 1_000),
        "customer_id": "c{{randomInt 0 10000}}",
        "merchant_id": "m{{randomInt 0 2000}}",
        "amount_minor": "1999",
        "currency": "EUR",
    }
    told = ["--insecure", "--protoset", str(protoset), "--call", SCORE.removeprefix("/"), "-O", "json"]
    told += ["-d", json.dumps({"transaction": asked}), "-n", str(CALLS), "-c", "16", address]
    ran = subprocess.run([str(program), *told], capture_output=True, check=True)
    found = json.loads(ran.stdout)
    assert found["statusCodeDistribution"] == {"OK": CALLS}, found["statusCodeDistribution"]
    latency = {f"p{each['percentage']}": each["latency"] / 1e6 for each in found["latencyDistribution"]}
    return {"calls_per_second": found["rps"], **{name: latency[name] for name in ("p50", "p95", "p99")}}


def streamed(address: str, streams: int) -> Row:
    """Send on streams at once; return answers in a second."""
    encoded = pool(1, CALLS)
    answered = [0] * streams

    def one(number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options) as channel:
            stream = channel.stream_stream(SCORE.replace("/Score", "/ScoreStream"))
            asked = itertools.islice(requests(encoded, f"s{time.time_ns()}-{number}", 0), CALLS)
            answered[number] = sum(1 for _ in stream(asked))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(streams)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered == [CALLS] * streams, answered
    return {"transactions_per_second": sum(answered) / (time.perf_counter() - begin)}


def contestants(at: dict[str, str], options: argparse.Namespace, work: Path) -> dict[str, Callable[[], Row]]:
    """Return what is measured, by `job, name`."""
    runs: dict[str, Callable[[], Row]] = {}
    loads: dict[str, dict[str, Any]] = {
        "unary": {"calls": CALLS, "concurrency": 16},
        "open": {"calls": 1_000 * SECONDS, "rate": 1_000.0},
        "users": {"calls": CALLS, "concurrency": 200},
    }
    for job, told in loads.items():
        for name in SERVERS:
            runs[f"{job}, {name}"] = partial(own, at[name], **told)
    for name in OURS:
        runs[f"batch, {name}"] = partial(own, at[name], calls=BATCHES, concurrency=2, batch=BATCH)
        runs[f"stream of one, {name}"] = partial(streamed, at[name], 1)
        runs[f"stream of four, {name}"] = partial(streamed, at[name], 4)
    if options.ghz is not None:
        protoset = work / "scoring.protoset"
        file = "fraudengine/v1/scoring.proto"
        wanted = [f"-I{PROTO}", "--include_imports", f"--descriptor_set_out={protoset}", file]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *wanted], check=True)
        for name in SERVERS:
            runs[f"unary by ghz, {name}"] = partial(ghz, options.ghz, protoset, at[name])
    jobs = options.jobs.split(",")
    return {name: run for name, run in runs.items() if name.startswith(tuple(jobs))}


def medians(rows: list[Row]) -> Row:
    """Return the median of each figure."""
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def measure(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run everything in turn, round after round; return medians, and ratios to the bare server."""
    found: dict[str, list[Row]] = {}
    with servers(trained(work)) as at:
        runs = contestants(at, options, work)
        for _ in range(options.rounds):
            for name, run in runs.items():
                found.setdefault(name, []).append(run())
                print(name, found[name][-1], file=sys.stderr, flush=True)
    middle = {name: medians(rows) for name, rows in found.items()}
    ratios: dict[str, Row] = {}
    for name, row in middle.items():
        job, _, who = name.partition(", ")
        beside = middle.get(f"{job}, bare")
        if who in OURS and beside is not None:
            ratios[name] = {key: round(row[key] / beside[key], 3) for key in row if beside[key]}
    return {"rounds": options.rounds, "medians": middle, "to bare": ratios, "all": found}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder that keeps the trained bundle")
    parser.add_argument("--ghz", type=Path, help="the ghz program")
    parser.add_argument("--jobs", default="unary,open,batch,users,stream")
    parser.add_argument("--bare", metavar="HEX", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare is not None:
        asyncio.run(bare(bytes.fromhex(options.bare)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        before = facts("grpcio", "protobuf")
        result = {**before, **measure(work, options)}
    save("serving", result)
    print(json.dumps({key: result[key] for key in ("medians", "to bare")}, indent=2))


if __name__ == "__main__":
    main()
