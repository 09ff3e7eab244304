"""A replay of a history that is larger than memory: rate, peak of resident memory, and whether all is there.

    python benchmarks/replay_large.py [--rows 100000000] [--folder DIR] [--threads 2]

Runs the commands as a user does, each in a process of its own: `fraudengine generate` to a Parquet file, then
`fraudengine replay` of it. Then the decisions are read back in pieces: as many as transactions, every
transaction once (by two sums over hashes of the ids), in order of event time. A regression means that
something is kept that should pass by. Writes results/replay_large.json; the files are removed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl

from machine import facts, save
from programs import command
from stream import ROOT, trained

LIMIT_BYTES = 8 << 30
SHRUNK = 1 << 28
"""Hashes are divided by it, so that the sum of hundreds of millions fits 64 bits."""
PAGE = os.sysconf("SC_PAGE_SIZE")


def run(*arguments: object) -> dict[str, Any]:
    """Run a command of the product; return what it printed, its seconds and its peak of resident memory."""
    begin = time.monotonic()
    process = subprocess.Popen(command(*arguments, "--json"), stdout=subprocess.PIPE, text=True)
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.1):
            try:
                peak = max(peak, int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE)
            except (OSError, IndexError):
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        told, _ = process.communicate()
    finally:
        process.kill()
        ended.set()
        watching.join()
    assert process.returncode == 0, f"{arguments[0]} ended with {process.returncode}"
    return {**json.loads(told), "seconds": round(time.monotonic() - begin, 1), "peak_bytes": peak}


def check(history: Path, decisions: Path) -> dict[str, Any]:
    """Hold the decisions against the history; both are read in pieces."""
    wanted, found = pl.scan_parquet(history), pl.scan_parquet(decisions)
    # A sum over hashes of the ids tells a lost or a doubled one without keeping any.
    mixed = pl.col("transaction_id").hash(seed=1) // SHRUNK
    facts_of = [
        pl.len().alias("rows"),
        mixed.sum().alias("first"),
        (pl.col("transaction_id").hash(seed=2) // SHRUNK).sum().alias("second"),
    ]
    ours, theirs = (
        each.select(facts_of).collect(engine="streaming").row(0, named=True) for each in (found, wanted)
    )
    ordered, last = True, None
    for frame in found.select("event_time").collect_batches(
        chunk_size=1_000_000, lazy=True, engine="streaming"
    ):
        times = frame["event_time"]
        ordered &= times.is_sorted() and (last is None or times[0] >= last)
        last = times[-1]
    return {
        "rows_of_the_history": theirs["rows"],
        "decisions": ours["rows"],
        "same_ids": ours == theirs,
        "in_order_of_time": ordered,
    }


def main() -> None:
    """Generate, replay, count."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--customers", type=int, default=500_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="for the files; default: the system's")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    given = parser.parse_args()
    days = max(1, math.ceil(given.rows / (given.customers * 0.7)))
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="replay-large-") as folder:
        history, out = Path(folder) / "history.parquet", Path(folder) / "decisions.parquet"
        bundle = trained(given.work)
        generated = run(
            *(
                "generate",
                "--customers",
                given.customers,
                "--merchants",
                given.customers // 20,
                "--days",
                days,
            ),
            *("--start", "2015-01-01", "--threads", given.threads, "--out", history),
        )
        print(generated, file=sys.stderr)
        replayed = run("replay", bundle, history, "--out", out, "--threads", given.threads, "--streamed")
        print(replayed, file=sys.stderr)
        checked = check(history, out)
        sizes = {"history_bytes": history.stat().st_size, "decisions_bytes": out.stat().st_size}
    assert checked["same_ids"], checked
    assert checked["in_order_of_time"], checked
    assert replayed["peak_bytes"] < LIMIT_BYTES, replayed
    result = {
        "rows": generated["transactions"],
        "customers": given.customers,
        "threads": given.threads,
        "replayed_per_second": round(generated["transactions"] / replayed["seconds"]),
        "generate": generated,
        "replay": replayed,
        "check": checked,
        **sizes,
    }
    print(json.dumps(result, indent=1))
    save("replay_large", {"machine": facts(), "result": result})


if __name__ == "__main__":
    main()
