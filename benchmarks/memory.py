"""Memory that is bounded: five million customers by Zipf's law, one merchant with a tenth of all traffic.

    python benchmarks/memory.py [--customers 5000000] [--transactions 12000000] [--entities-max 262144]

Through the Python engine, which is the core of the stream without Kafka: the tables are the same. Two
passes, each in a process of its own: with the hot merchant and without it. Told are the resident size
half-way and at the end, live and evicted entities, and what the hot key costs. Writes
results/memory.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fraudengine.engine import Engine
from machine import facts, save

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 100_000
START = datetime(2025, 1, 1, tzinfo=UTC)
HOT_SHARE = 0.1
ZIPF = 1.1


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def frames(customers: int, transactions: int, *, hot: bool) -> Iterator[pl.DataFrame]:
    """Yield slices of traffic: customers by Zipf's law over a shuffled population."""
    draws = np.random.default_rng(5)
    order = draws.permutation(customers)
    ranks = np.arange(1, customers + 1, dtype=np.float64)
    shares = np.cumsum(ranks**-ZIPF)
    shares /= shares[-1]
    for first in range(0, transactions, ROWS):
        customer = order[np.searchsorted(shares, draws.random(ROWS))]
        merchant = draws.integers(1, 50_000, ROWS)
        if hot:
            merchant[draws.random(ROWS) < HOT_SHARE] = 0
        numbers = np.arange(first, first + ROWS)
        yield pl.DataFrame({"n": numbers, "c": customer, "m": merchant}).select(
            transaction_id=pl.format("t{}", "n"),
            event_time=pl.lit(START) + pl.duration(microseconds=pl.col("n") * 500),
            customer_id=pl.format("c{}", "c"),
            device_id=pl.format("d{}", "c"),
            merchant_id=pl.format("m{}", "m"),
            amount_minor=pl.col("n") % 9_000 + 100,
            currency=pl.lit("EUR"),
        )


def measure(customers: int, transactions: int, entities_max: int, *, hot: bool) -> dict[str, Any]:
    """Return the figures of one pass."""
    engine = Engine(entities_max=entities_max)
    spent, sizes = [], []
    for frame in frames(customers, transactions, hot=hot):
        began = time.perf_counter()
        engine.process(frame)
        spent.append(time.perf_counter() - began)
        sizes.append(resident())
    tail = spent[len(spent) // 2 :]
    return {
        "entities_max": entities_max,
        "hot_merchant": hot,
        "rate": round(ROWS / float(np.median(tail))),
        "resident_bytes_middle": sizes[len(sizes) // 2],
        "resident_bytes_end": sizes[-1],
        "tables": engine.stats(),
    }


def main() -> None:
    """Run the passes and write what they found."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--customers", type=int, default=5_000_000)
    arguments.add_argument("--transactions", type=int, default=12_000_000)
    arguments.add_argument("--entities-max", type=int, default=262_144)
    arguments.add_argument("--one", choices=["hot", "even"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        hot = given.one == "hot"
        print(json.dumps(measure(given.customers, given.transactions, given.entities_max, hot=hot)))
        return
    passes = {}
    for name, one in (("hot", "hot"), ("even", "even")):
        command = [sys.executable, __file__, "--one", one]
        for option in ("customers", "transactions", "entities_max"):
            command += [f"--{option.replace('_', '-')}", str(getattr(given, option))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        passes[name] = json.loads(done.stdout)
        print(name, {key: value for key, value in passes[name].items() if key != "tables"}, flush=True)
    cost = passes["even"]["rate"] / passes["hot"]["rate"]
    growth = passes["hot"]["resident_bytes_end"] / passes["hot"]["resident_bytes_middle"]
    print(f"the hot key costs {cost:.2f} times; second half grew {growth:.3f} times")
    save("memory", {"machine": facts(), "cost_of_the_hot_key": cost, "growth": growth, "passes": passes})


if __name__ == "__main__":
    main()
