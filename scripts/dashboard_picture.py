"""Makes the picture of the dashboard for the README, from live data: `make picture`.

    python scripts/dashboard_picture.py docs/dashboard.png [--minutes 12]

A model is trained on a synthetic history, a stream decides the days after it over services of its own, and
the page Live is photographed after some minutes of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from dashboard_site import browser, opened, site

from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.training import BoosterOptions, ForestOptions, TrainOptions, train


def main() -> None:
    """Train, stream, wait, take the picture."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--minutes", type=float, default=12.0)
    given = arguments.parse_args()
    history = generate(SyntheticConfig(customers=3_000, merchants=500, days=90, fraud_rate=0.01, seed=5))
    options = TrainOptions(
        booster=BoosterOptions(trees=80, depth=5),
        forest=ForestOptions(trees=40, rows_per_tree=128),
        test_span=timedelta(days=14),
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle = train(history, options, Path(folder) / "model").bundle.path
        with (
            site(bundle, history, Path(folder)) as live,
            browser() as shown,
            opened(shown, live.url, height=1010) as page,
        ):
            page.get_by_text("15 min", exact=True).click()
            time.sleep(given.minutes * 60)
            page.screenshot(path=given.out)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
