"""What every benchmark says about where it ran, how it takes medians, and how it ends."""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"

# A benchmark that is told to end stops the services and processes it started, as after Ctrl-C.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def facts(*packages: str) -> dict[str, Any]:
    """Return processor, cores, load average, commit and versions."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "commit": commit,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def seconds(job: Callable[[], object]) -> float:
    """Return the wall time of one run."""
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


def processor_seconds(job: Callable[[], object]) -> float:
    """Return the processor time of one run, all threads together; waiting for a processor is not counted."""
    begin = time.process_time()
    job()
    return time.process_time() - begin


def medians(
    jobs: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[Callable[[], object]], float] = seconds,
) -> dict[str, float]:
    """Run the jobs in turn, round after round, and return the median seconds of each by the given clock."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(clock(job))
    return {name: statistics.median(values) for name, values in times.items()}


def save(name: str, content: dict[str, Any]) -> None:
    """Write one result as JSON beside the scripts."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
