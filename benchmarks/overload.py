"""Three times what the scoring service can do, for half a minute: what is accepted, what is turned away.

    python benchmarks/overload.py [--seconds 30] [--only batches|single]

A service in a process of its own, on the cores of the client. Its capacity is what a closed loop gets out of
it; then an open loop begins three times as many calls; then half of the capacity, to see how soon all is
as before. `batches` are `ScoreBatch` calls of 256 by grpcio; `single` are `Score` calls by ghz (on PATH),
since no client in Python is fast enough. Writes results/overload.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import grpc
from open_loop import Call, Sender, percentile
from scoring_process import ScoringProcess, scoring_process

from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import TrainOptions, train
from machine import facts, save

ROOT = Path(__file__).resolve().parents[1]
BATCH = 256
CALLERS = {"batches": 32, "single": 200}
CAPACITY_SECONDS = 8.0
AFTER_SECONDS = 10.0


class Ghz:
    """Sends `Score` by ghz: the same interface as `open_loop.Sender`."""

    def __init__(self, address: str, folder: Path) -> None:
        self._address = address
        path = shutil.which("ghz")
        if path is None:
            raise SystemExit("ghz is not on PATH: go install github.com/bojand/ghz/cmd/ghz@latest")
        protos = folder / "scoring.protoset"
        options = ["-Iproto", "--include_imports", f"--descriptor_set_out={protos}"]
        command = [sys.executable, "-m", "grpc_tools.protoc", *options, "fraudengine/v1/scoring.proto"]
        subprocess.run(command, cwd=ROOT, check=True)
        call = ["--call", "fraudengine.v1.ScoringService/Score", "-O", "json"]
        self._command = [path, "--insecure", "--protoset", str(protos), *call]
        self._runs = 0

    def closed(self, callers: int, seconds: float) -> list[Call]:
        """Keep `callers` calls under way."""
        return self._run("-c", str(callers), "--connections", "4", "-z", f"{seconds}s")

    def open(self, rate: float, seconds: float) -> list[Call]:
        """Begin `rate` calls in a second, evenly spaced."""
        total = str(round(rate * seconds))
        return self._run("--async", "-c", "4", "--connections", "4", "-r", str(round(rate)), "-n", total)

    def _run(self, *options: str) -> list[Call]:
        self._runs += 1
        names = {
            "transaction_id": f"{self._runs}-{{{{.RequestNumber}}}}",
            # Few, so that the state grows no more after a while.
            "customer_id": "{{randomInt 0 999}}",
        }
        told = {**names, "amount_minor": 1_999}
        data = json.dumps({"transaction": {**told, "event_time_micros": time.time_ns() // 1_000}})
        command = [*self._command, *options, "-d", data, self._address]
        said = subprocess.run(command, capture_output=True, check=True).stdout
        details = json.loads(said)["details"]
        ended = [
            (datetime.fromisoformat(each["timestamp"]).timestamp(), each["latency"] / 1e6, each["status"])
            for each in details
            # Those under way when ghz hangs up at the end of its time.
            if "closing" not in each["error"]
        ]
        first = min(at for at, *_ in ended)
        return [Call(at - first, latency, status.upper()) for at, latency, status in ended]


def measured(kind: str, sender: Sender | Ghz, process: ScoringProcess, seconds: float) -> dict[str, Any]:
    """Find the capacity, send three times of it, and wait until all is as before."""
    sender.closed(CALLERS[kind], 2.0)
    usual = sender.closed(CALLERS[kind], CAPACITY_SECONDS)
    capacity = len(usual) / CAPACITY_SECONDS
    sender.open(capacity * 3, 2.0)
    before = process.resident_bytes()
    calls = sender.open(capacity * 3, seconds)
    grown = process.resident_bytes() - before
    after = sender.open(capacity / 2, AFTER_SECONDS)
    accepted = [call for call in calls if call.code == "OK"]
    # From when they were really sent: a rejection is no answer to a sender that is late.
    rejected = [
        Call(call.at, call.milliseconds - call.late_ms, call.code) for call in calls if call.code != "OK"
    ]
    sender_late = [Call(call.at, call.late_ms, call.code) for call in calls]
    usual_p99 = percentile(usual, 0.99)
    late = [call for call in after if call.code != "OK" or call.milliseconds > usual_p99]
    return {
        "capacity_per_second": round(capacity, 1),
        "usual_ms": summary(usual),
        "offered_per_second": round(len(calls) / seconds, 1),
        "statuses": dict(Counter(call.code for call in calls)),
        "accepted_per_second": round(len(accepted) / seconds, 1),
        "accepted_ms": summary(accepted),
        "accepted_p99_over_usual": round(percentile(accepted, 0.99) / usual_p99, 2),
        "rejected_ms": summary(rejected),
        "sender_late_ms": summary(sender_late),
        "grown_bytes": grown,
        "usual_again_after_seconds": round(max((call.at for call in late), default=0.0), 2),
        "after_ms": summary(after),
    }


def summary(calls: list[Call]) -> dict[str, float]:
    """Return percentiles of the time to the end, milliseconds."""
    return {f"p{share * 100:g}": round(percentile(calls, share), 2) for share in (0.5, 0.9, 0.99, 0.999)}


def main() -> None:
    """Run the kinds one after the other, each on a service of its own."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--only", choices=list(CALLERS))
    arguments.add_argument("--set", action="append", default=[], help="a setting of the service")
    given = arguments.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = generate(SyntheticConfig(customers=2_000, merchants=300, days=100, fraud_rate=0.03))
        bundle = train(history, TrainOptions(), folder / "model").bundle.path
        for kind in CALLERS:
            if given.only in (None, kind):
                with (
                    scoring_process(bundle, *given.set) as process,
                    grpc.insecure_channel(process.address) as channel,
                ):
                    sender = Ghz(process.address, folder) if kind == "single" else Sender(channel, BATCH)
                    results[kind] = measured(kind, sender, process, given.seconds)
                    print(kind, json.dumps(results[kind], indent=1), flush=True)
    save("overload", {"machine": facts("grpcio"), "seconds": given.seconds, "overload": results})


if __name__ == "__main__":
    main()
