"""Broker, Postgres and Redis away for a minute each, under load: what is there afterwards.

    python benchmarks/outages.py [--seconds 60] [--rate 2000]

Each outage runs against services of its own: Postgres stopped, Postgres suspended (connections stay open,
nobody answers), Redis stopped and flushed, Kafka stopped. Decisions must go on where they can, the process
must not grow by more than a bound, and in the end every record must be decided once and be one row. Writes
results/outages.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from stream_topics import new_topics

import outages
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train
from machine import facts, save

KINDS = (outages.postgres_down, outages.postgres_hung, outages.redis_down, outages.broker_down)


def main() -> None:
    """Run the outages one after the other."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--rate", type=float, default=2_000.0)
    arguments.add_argument("--only", choices=[kind.__name__ for kind in KINDS])
    given = arguments.parse_args()
    history = generate(SyntheticConfig(customers=2_000, merchants=300, days=100, fraud_rate=0.03))
    results = {}
    with tempfile.TemporaryDirectory() as folder, outages.own_services() as (services_folder, fresh):
        options = TrainOptions(
            booster=BoosterOptions(trees=50, depth=5),
            forest=ForestOptions(trees=20, rows_per_tree=128),
            test_span=timedelta(days=14),
        )
        bundle = train(history, options, Path(folder) / "model").bundle.path
        for kind in KINDS:
            if given.only in (None, kind.__name__):
                topics = new_topics(fresh, Path(folder) / kind.__name__)
                outage = outages.Outage(
                    services_folder, fresh, topics, bundle, history, given.seconds, given.rate
                )
                results[kind.__name__] = kind(outage)
                print(kind.__name__, results[kind.__name__], flush=True)
    save("outages", {"machine": facts(), "seconds": given.seconds, "rate": given.rate, "outages": results})


if __name__ == "__main__":
    main()
