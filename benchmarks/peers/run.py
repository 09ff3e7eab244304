"""Side by side with what a user would pick instead, each in its own environment.

    python benchmarks/peers/run.py [job] [inference] [windows] [grpc] [--rounds 5]

Without a topic, all of them. Environments are made from `requirements/` when they are missing. Results of
every contestant are compared with the engine's before anything is timed; then contestants take turns. Each
topic writes `results/TOPIC.md`, `.svg` and `.json` beside this file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "support")]

from report import markdown, svg  # noqa: E402 - the folders are needed by the topics

if TYPE_CHECKING:
    from report import Run

TOPICS = ("job", "inference", "windows", "grpc")


def write(run: Run, folder: Path) -> None:
    """Write the report, the plot and the figures of a run."""
    folder.mkdir(exist_ok=True)
    (folder / f"{run.topic}.md").write_text(markdown(run), encoding="utf-8")
    (folder / f"{run.topic}.svg").write_text(svg(run), encoding="utf-8")
    (folder / f"{run.topic}.json").write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure the topics asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("topics", nargs="*", choices=[*TOPICS, []], help="what to measure; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--count", type=int, help="transactions, rows or calls of a round; each topic has its own"
    )
    parser.add_argument("--only", nargs="+", help="contestants; all by default")
    parser.add_argument(
        "--work", type=Path, default=HERE.parents[1] / "build" / "peers", help="models and data"
    )
    parser.add_argument("--prepare", action="store_true", help="make environments, models and data, and stop")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for topic in options.topics or TOPICS:
        run = importlib.import_module(f"topic_{topic}").measure(options)
        if run is not None:
            write(run, HERE / "results")
            print(markdown(run))


if __name__ == "__main__":
    main()
