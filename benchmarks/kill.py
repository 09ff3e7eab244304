"""Fifty SIGKILLs under load, held against an oracle over the log: nothing lost, nothing doubled, all equal.

    python benchmarks/kill.py [--kills 50] [--rate 1500] [--seed 1]

Real Kafka; transactions of which 2% repeat an id and 1% come late, up to four hours where the lateness
bound is one; labels. Between two kills the stream runs for a random time; some kills hit it while it
recovers. In the end the log must hold every record once, every decision must be that of a replay in the
log's order, bit for bit, and each decision that is no approval must have one alert. Writes
results/kill.json.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from kill_campaign import Campaign, run
from service_stack import Fresh, started_stack
from stream_topics import new_topics

from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train
from machine import facts, save


def main() -> None:
    """Run the campaign and write what it found."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--rate", type=float, default=1_500.0)
    arguments.add_argument("--seconds-max", type=float, default=600.0, help="no more kills after this time")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    history = generate(
        SyntheticConfig(
            customers=4_000,
            merchants=400,
            days=int(given.rate * given.seconds_max / 3_000) + 2,
            fraud_rate=0.03,
            duplicate_rate=0.02,
            late_rate=0.01,
            late_seconds_max=14_400,
            jitter_seconds=5,
            seed=given.seed,
        )
    )
    with tempfile.TemporaryDirectory() as folder, started_stack() as stack:
        options = TrainOptions(
            booster=BoosterOptions(trees=50, depth=5),
            forest=ForestOptions(trees=20, rows_per_tree=128),
            test_span=timedelta(days=14),
        )
        bundle = train(history.head(200_000), options, Path(folder) / "model").bundle.path
        topics = new_topics(Fresh(stack), Path(folder))
        campaign = Campaign(
            kills=given.kills, rate=given.rate, seconds_max=given.seconds_max, draws=random.Random(given.seed)
        )
        began = time.monotonic()
        result = run(campaign, topics, bundle, history)
    result = {"seed": given.seed, **result, "seconds": round(time.monotonic() - began, 1)}
    print(result)
    save("kill", {"machine": facts(), "result": result})


if __name__ == "__main__":
    main()
