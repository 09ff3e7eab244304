"""How long decisions pause when the process that decides is killed or drained and another takes over.

    python benchmarks/takeover.py [--takeovers 6] [--tps 20000] [--folders shared]

Real Kafka, an open loop at a steady rate, two processes of one consumer group with one state folder (or one
each). In turn the process that decides is ended by SIGKILL and by SIGTERM; the other one takes over, and a
new one stands by. The pause of a takeover is the largest gap between the broker's times of neighbouring
decisions around it. In the end every transaction must be in the log once. A regression means that the one
that stands by is not warm, or that the seat changes hands slowly. Writes results/takeover.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fraudengine.errors import StreamError
from fraudengine.streaming.client import OperatorClient
from fraudengine.wire.log_pb2 import DecisionRecord
from machine import facts, save
from programs import command
from stream import ROOT, Bench, read, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraudengine import config

WAIT_SECONDS = 120.0


class Process:
    """One process of the stream."""

    def __init__(self, bench: Bench, settings: config.Settings, number: int, *, shared: bool) -> None:
        flags = bench.flags(settings, databases=False)
        if not shared:
            flags["state.folder"] = bench.folder / f"state-{number}"
        self._out = bench.folder / f"process-{number}.out"
        with self._out.open("w") as answers:
            self.process = subprocess.Popen(
                command("stream", bench.bundle, "--json", flags=flags), stdout=answers
            )
        self._client: OperatorClient | None = None

    def status(self) -> dict[str, Any]:
        """Return what it is doing; nothing before it can be asked."""
        text = self._out.read_text()
        if self._client is None and "\n}" in text:
            self._client = OperatorClient(str(json.loads(text[: text.index("\n}") + 2])["address"]))
        try:
            return self._client.status() if self._client else {}
        except StreamError:
            return {}

    def end(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)


def wait(condition: Callable[[], bool], what: str) -> float:
    """Wait for a condition; return the seconds that took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > WAIT_SECONDS:
            raise TimeoutError(f"not within {WAIT_SECONDS} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


def is_warm(told: dict[str, Any]) -> bool:
    """Return whether a process stands by with the state of now."""
    behind = told.get("standby_behind")
    return told.get("phase") == "standing_by" and behind is not None and behind < 50_000


def stands_by(process: Process) -> bool:
    """Return whether it could take over at once."""
    return is_warm(process.status())


def decides(process: Process) -> bool:
    """Return whether it has taken over."""
    return process.status().get("phase") == "running"


def campaign(bench: Bench, settings: config.Settings) -> tuple[list[dict[str, Any]], Any]:
    """End one process after the other under load; return how each takeover went, and the load's report."""
    given = bench.arguments
    shared = given.folders == "shared"
    owner = Process(bench, settings, 0, shared=shared)
    ended: list[dict[str, Any]] = []
    alive = [owner]
    try:
        wait(lambda: owner.status().get("phase") == "running", "a first process that decides")
        load = bench.load(settings, tps=given.tps, seconds=0, warm_days=given.warm_days)
        wait(lambda: load.report().phase == "sending", "that the load has begun")
        wait(lambda: (owner.status().get("lag") or 0) < given.tps, "that the warm-up is decided")
        for turn in range(given.takeovers):
            other = Process(bench, settings, turn + 1, shared=shared)
            alive.append(other)
            warm = wait(partial(stands_by, other), "a process that stands by")
            time.sleep(given.between)
            way = signal.SIGKILL if turn % 2 == 0 else signal.SIGTERM
            at_ms = time.time() * 1000
            owner.end(way)
            wait(partial(decides, other), "a takeover")
            resumed = round(time.time() - at_ms / 1000, 2)
            told = {"way": way.name, "at_ms": at_ms, "resumed_after_seconds": resumed}
            ended.append({**told, "warm_after_seconds": round(warm, 2)})
            print(ended[-1], file=sys.stderr)
            owner.process.wait(WAIT_SECONDS)
            owner = other
            time.sleep(given.between)
        load.stop()
        load.wait(WAIT_SECONDS)
        wait(lambda: owner.status().get("lag") == 0, "that all is decided")
    finally:
        for each in alive:
            each.process.terminate()
        for each in alive:
            each.process.wait(WAIT_SECONDS)
    return ended, load.report()


def in_log(settings: config.Settings) -> tuple[np.ndarray, np.ndarray, int]:
    """Return time (milliseconds) and source of each decision that counts, and how many runs there were."""
    times, sources, highest, runs = [], [], -1, 0
    for record in read(settings.kafka.brokers, settings.kafka.decisions_topic):
        told = DecisionRecord.FromString(record.value())
        if told.owner:
            highest, runs = max(highest, record.offset()), runs + 1
        elif told.generation >= highest:
            times.append(record.timestamp()[1])
            sources.append(told.source_partition << 48 | told.source_offset)
    return np.array(times), np.array(sources, dtype=np.uint64), runs


def main() -> None:
    """Run the campaign and count."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--takeovers", type=int, default=6)
    parser.add_argument("--tps", type=float, default=20_000.0)
    parser.add_argument("--folders", choices=["shared", "own"], default="shared")
    parser.add_argument("--between", type=float, default=5.0, help="seconds of load before and after each")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--warm-days", type=int, default=0, help="days of history decided before the first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the stream")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    arguments = parser.parse_args()
    arguments.labels = "fraud"
    with started(arguments) as bench:
        settings = bench.topics("takeover")
        ended, report = campaign(bench, settings)
        times, sources, runs = in_log(settings)
    for each in ended:
        # Neighbours in the log; the next takeover is later than `between`.
        until = each["at_ms"] + arguments.between * 1000 + each["resumed_after_seconds"] * 1000
        near = times[(times >= each["at_ms"] - 500) & (times <= until)]
        gaps = np.diff(np.sort(near))
        each["pause_seconds"] = round(float(gaps.max()) / 1000, 3)
    sent, distinct = report.transactions, len(np.unique(sources))
    result = {
        "tps": arguments.tps,
        "folders": arguments.folders,
        "transactions": sent,
        "runs": runs,
        "lost": sent - distinct,
        "doubled": len(sources) - distinct,
        "takeovers": ended,
        **{
            f"longest pause, {way}, seconds": max(
                (each["pause_seconds"] for each in ended if each["way"] == way), default=None
            )
            for way in ("SIGKILL", "SIGTERM")
        },
    }
    print(json.dumps(result, indent=1))
    save("takeover", {"machine": facts(), "result": result})


if __name__ == "__main__":
    main()
