"""Three times what the scoring service can do, for half a minute: what is accepted, what is turned away.

    python benchmarks/overload.py [--seconds 30] [--only batches|single] [--native]

A service in a process of its own with the first core to itself, and its callers on the others: what is sent
beyond its capacity costs the service what it costs to turn it away, and nothing else. Its capacity is what
a closed loop gets out of it; then an open loop begins three times as many calls; then half of the capacity,
to see how soon all is as before. `batches` are `ScoreBatch` calls of 256, `single` are `Score` calls by the
sender of `fraudengine loadtest`. (The native transport takes more single calls in a second than one core
can send three times.) Writes results/overload.json, with `--native` results/overload_native.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import grpc
from open_loop import Call, Sender, percentile
from scoring_process import ScoringProcess, scoring_process

from fraudengine.client.connection import Connection
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.loadtest import Plan, Summary, run
from fraudengine.loadtest.summary import percentiles_ms
from fraudengine.training import TrainOptions, train
from machine import facts, save

BATCH = 256
CALLERS = {"batches": 32, "single": 200}
CAPACITY_SECONDS = 8.0
AFTER_SECONDS = 10.0


def load(address: str, **told: Any) -> Summary:  # noqa: ANN401 - fields of Plan
    """Send single calls."""
    service = Connection(address=address, timeout_seconds=10.0, retries=0)
    return run(Plan(connection=service, concurrency=CALLERS["single"], **told))


def single(process: ScoringProcess, address: str, seconds: float) -> dict[str, Any]:
    """Find the capacity for single calls, send three times of it, and wait until all is as before."""
    usual = load(address, calls=30_000)
    capacity = usual.statuses["OK"] / usual.seconds
    load(address, calls=round(capacity * 3 * 2), rate=capacity * 3)
    before = process.resident_bytes()
    calls = load(address, calls=round(capacity * 3 * seconds), rate=capacity * 3)
    grown = process.resident_bytes() - before
    rate = capacity / 2
    after = [load(address, calls=round(rate), rate=rate, warmup_calls=0) for _ in range(int(AFTER_SECONDS))]
    usual_p99, accepted_p99 = p99_ms(usual), p99_ms(calls)
    late = [
        number + 1
        for number, each in enumerate(after)
        if set(each.statuses) != {"OK"} or p99_ms(each) > usual_p99
    ]
    return {
        "capacity_per_second": round(capacity, 1),
        "usual_ms": percentiles_ms(usual.latencies_ns),
        "offered_per_second": round(calls.plan.calls / calls.seconds, 1),
        "statuses": dict(calls.statuses),
        "accepted_per_second": round(calls.statuses["OK"] / calls.seconds, 1),
        "accepted_ms": percentiles_ms(calls.latencies_ns),
        "accepted_p99_over_usual": round(accepted_p99 / usual_p99, 2),
        "rejected_ms": percentiles_ms(calls.rejections_ns),
        "sender_late_ms": percentiles_ms(calls.delays_ns),
        "sender_busy": round(calls.sender_busy, 2),
        "grown_bytes": grown,
        "usual_again_after_seconds": float(max(late, default=0)),
    }


def p99_ms(summary: Summary) -> float:
    """Return the 99th percentile of the latency."""
    return percentiles_ms(summary.latencies_ns)["p99"] or 0.0


def batches(sender: Sender, process: ScoringProcess, seconds: float) -> dict[str, Any]:
    """Find the capacity for batches, send three times of it, and wait until all is as before."""
    sender.closed(CALLERS["batches"], 2.0)
    usual = sender.closed(CALLERS["batches"], CAPACITY_SECONDS)
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
    arguments.add_argument("--native", action="store_true", help="call the native transport")
    arguments.add_argument("--set", action="append", default=[], help="a setting of the service")
    given = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the callers need a core beside the one of the service")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = generate(SyntheticConfig(customers=2_000, merchants=300, days=100, fraud_rate=0.03))
        bundle = train(history, TrainOptions(), folder / "model").bundle.path
        for kind in CALLERS:
            if given.only in (None, kind):
                # Threads and processes run where the thread that starts them may.
                os.sched_setaffinity(0, cores[:1])
                with scoring_process(bundle, "serve.native_port=0", *given.set) as process:
                    os.sched_setaffinity(0, cores[1:])
                    address = (given.native and process.native) or process.address
                    with grpc.insecure_channel(address) as channel:
                        if kind == "single":
                            results[kind] = single(process, address, given.seconds)
                        else:
                            results[kind] = batches(Sender(channel, BATCH), process, given.seconds)
                    print(kind, json.dumps(results[kind], indent=1), flush=True)
    save(
        "overload_native" if given.native else "overload",
        {"machine": facts("grpcio"), "seconds": given.seconds, "overload": results},
    )


if __name__ == "__main__":
    main()
