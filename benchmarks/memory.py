"""Memory that is bounded: five million customers by Zipf's law, one merchant with a tenth of all traffic.

    python benchmarks/memory.py [--customers 5000000] [--transactions 10000000] [--memory-max-mib 1024]

Every customer spends at least once; half of the transactions follow a Zipf law. Each has a card, a device
and an address of its own, so that all tables but the merchants' outgrow their share. Through the Python
engine, which is the core of the stream without Kafka: the tables are the same, and so is the allocator. Two
passes, each in a process of its own: with the hot merchant and without it. Fails unless the resident size
grows by less than the bound, entities are evicted, and the hot key costs less than twice (processor time).
Writes results/memory.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fraudengine.engine import Engine
from machine import facts, processor_seconds, save

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
    """Yield slices of traffic: every other transaction is the next customer's, the rest follow a Zipf law."""
    draws = np.random.default_rng(5)
    order = draws.permutation(customers)
    ranks = np.arange(1, customers + 1, dtype=np.float64)
    shares = np.cumsum(ranks**-ZIPF)
    shares /= shares[-1]
    # A customer's rank says nothing of when it first comes.
    first_come = draws.permutation(customers)
    for first in range(0, transactions, ROWS):
        customer = order[np.searchsorted(shares, draws.random(ROWS))]
        turn = np.arange(first // 2, (first + ROWS) // 2) % customers
        customer[::2] = first_come[turn]
        merchant = draws.integers(1, 50_000, ROWS)
        if hot:
            merchant[draws.random(ROWS) < HOT_SHARE] = 0
        numbers = np.arange(first, first + ROWS)
        yield pl.DataFrame({"n": numbers, "c": customer, "m": merchant}).select(
            transaction_id=pl.format("t{}", "n"),
            event_time=pl.lit(START) + pl.duration(microseconds=pl.col("n") * 100_000),
            customer_id=pl.format("c{}", "c"),
            card_id=pl.format("k{}", "c"),
            device_id=pl.format("d{}", "c"),
            ip_address=pl.format(
                "10.{}.{}.{}", pl.col("c") // 65_536, pl.col("c") // 256 % 256, pl.col("c") % 256
            ),
            merchant_id=pl.format("m{}", "m"),
            amount_minor=pl.col("n") % 9_000 + 100,
            currency=pl.lit("EUR"),
        )


def measure(customers: int, transactions: int, memory_max: int, *, hot: bool) -> dict[str, Any]:
    """Return the figures of one pass."""
    # What slices and their making need is there before the tables are.
    for _ in zip(range(5), frames(customers, transactions, hot=hot), strict=False):
        before = resident()
    engine = Engine(memory_max_bytes=memory_max)
    spent, sizes = [], []
    for frame in frames(customers, transactions, hot=hot):
        spent.append(processor_seconds(lambda frame=frame: engine.process(frame)))  # type: ignore[misc]  # bound on purpose
        sizes.append(resident())
    tables = engine.stats()["tables"]
    return {
        "hot_merchant": hot,
        "rate": round(ROWS / float(np.median(spent[len(spent) // 2 :]))),
        "resident_bytes_before": before,
        "resident_bytes_middle": sizes[len(sizes) // 2],
        "resident_bytes_most": max(sizes),
        "table_bytes": sum(table["bytes"] for table in tables.values()),
        "evicted": sum(table["evicted"] for table in tables.values()),
        "tables": tables,
    }


def main() -> None:
    """Run the passes, write what they found and hold it against what is promised."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--customers", type=int, default=5_000_000)
    arguments.add_argument("--transactions", type=int, default=10_000_000)
    arguments.add_argument("--memory-max-mib", type=int, default=1_024)
    arguments.add_argument("--one", choices=["hot", "even"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    memory_max = given.memory_max_mib << 20
    if given.one:
        print(json.dumps(measure(given.customers, given.transactions, memory_max, hot=given.one == "hot")))
        return
    passes: dict[str, dict[str, Any]] = {}
    for one in ("hot", "even"):
        command = [sys.executable, __file__, "--one", one]
        for option in ("customers", "transactions", "memory_max_mib"):
            command += [f"--{option.replace('_', '-')}", str(getattr(given, option))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        passes[one] = json.loads(done.stdout)
        print(one, {key: value for key, value in passes[one].items() if key != "tables"}, flush=True)
    cost = passes["even"]["rate"] / passes["hot"]["rate"]
    grown = max(each["resident_bytes_most"] - each["resident_bytes_before"] for each in passes.values())
    print(f"the hot key costs {cost:.2f} times; resident {grown:,} bytes for tables, bound {memory_max:,}")
    result = {"memory_max_bytes": memory_max, "resident_bytes_of_tables": grown, "cost_of_the_hot_key": cost}
    save("memory", {"machine": facts(), **result, "passes": passes})
    broken = {
        "resident size is not below the bound": grown >= memory_max,
        "nothing was evicted": any(each["evicted"] == 0 for each in passes.values()),
        "the hot key costs twice or more": cost >= 2,
    }
    sys.exit("; ".join(what for what, is_broken in broken.items() if is_broken) or None)


if __name__ == "__main__":
    main()
