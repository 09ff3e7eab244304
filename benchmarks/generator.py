"""Synthetic transactions per second, from seed to Arrow columns, on one core and on all.

    python benchmarks/generator.py [--customers 100000] [--days 30] [--rounds 5]

A regression here means that the generator, not the engine, becomes the limit of a load test.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches
from machine import facts, medians, save

if TYPE_CHECKING:
    from collections.abc import Callable


def count_rows(config: SyntheticConfig, threads: int) -> int:
    """Generate a history, keep nothing, and return its number of rows."""
    return sum(batch.height for batch in generate_batches(config, threads=threads))


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    config = SyntheticConfig(
        customers=options.customers, merchants=max(50, options.customers // 10), days=options.days
    )
    rows = count_rows(config, 0)
    threads = {"one core": 1, f"{os.cpu_count()} cores": os.cpu_count() or 1}
    jobs: dict[str, Callable[[], object]] = {
        name: partial(count_rows, config, count) for name, count in threads.items()
    }
    times = medians(jobs, options.rounds)
    for name, seconds in times.items():
        print(f"{name:10} {rows / seconds:14,.0f} transactions/s")
    rates = {name: rows / seconds for name, seconds in times.items()}
    save("generator", {"machine": facts("polars"), "rows": rows, "per_second": rates})


if __name__ == "__main__":
    main()
