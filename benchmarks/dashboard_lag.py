"""How far the dashboard is behind the stream: the newest decision that it can show, under a steady load.

    python benchmarks/dashboard_lag.py [--tps 20000] [--seconds 60]

Broker, stream, PostgreSQL, Redis, load and reader on the same cores. Once in `dashboard.refresh_seconds`, as
the pages do, the newest decision is read from Redis (Feed, and the figures of Live) and from PostgreSQL
(Feed with a filter); told is how long ago it was decided when the answer is there. What the eye sees is older
by one refresh at most. A regression means that a writer has fallen behind, or a read has become slow. Writes
results/dashboard_lag.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fraudengine.config import load
from fraudengine.stores import BlockingStores, Filter
from machine import facts, save
from stream import ROOT, Bench, percentiles, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fraudengine.stores import FeedEntry, StoredTransaction


def measured(bench: Bench) -> dict[str, object]:
    """Read beside the load."""
    arguments = bench.arguments
    settings = bench.topics("lag")
    stores_at = load(flags={"postgres.url": bench.stack.postgres_url, "redis.url": bench.stack.redis_url})
    refresh = stores_at.dashboard.refresh_seconds
    behind: dict[str, list[float]] = {"redis": [], "postgres": []}
    with bench.stream(settings, databases=True) as (client, _), BlockingStores(stores_at) as stores:
        sending = bench.load(settings, tps=arguments.tps, seconds=arguments.warm + arguments.seconds)
        shown: dict[str, Callable[[], Sequence[FeedEntry | StoredTransaction]]] = {
            "redis": lambda: stores.newest_decisions(100),
            "postgres": lambda: stores.page(Filter(), 100).transactions,
        }
        time.sleep(arguments.warm)
        end = time.monotonic() + arguments.seconds
        while (now := time.monotonic()) < end:
            for name, read in shown.items():
                decided = max(each.decided_time_micros for each in read())
                behind[name].append(time.time() * 1e3 - decided / 1e3)
            time.sleep(max(0.0, refresh - (time.monotonic() - now)))
        sending.stop()
        sending.wait(60)
        report = sending.report()
        lag = client.status()["lag"]
    return {
        "load per second": round(report.rate),
        "lag of the stream at the end, records": lag,
        "refresh, seconds": refresh,
        "milliseconds behind": {
            name: {**percentiles(each), "max": round(max(each), 1)} for name, each in behind.items()
        },
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tps", type=float, default=20_000.0, help="transactions a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=20.0, help="seconds of load before the first read")
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    parser.set_defaults(threads=1, labels="fraud", set=[])
    arguments = parser.parse_args()
    before = facts()
    with started(arguments) as bench:
        result = measured(bench)
    print(json.dumps(result, indent=2))
    save("dashboard_lag", {"machine": before, **result})


if __name__ == "__main__":
    main()
