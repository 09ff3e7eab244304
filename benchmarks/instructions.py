"""What a transaction costs the fold in instructions, reads, cache misses and wrong guesses, by simulation.

    python benchmarks/instructions.py [--top 20]

Times on a shared machine differ by a half from minute to minute; these counts are the same in each run, so
that a change of one per cent shows. They are no times: a simulated cache has no prefetch, a simulated branch
predictor is a simple one. Valgrind must be there (Debian and Ubuntu: `apt-get install valgrind`); it has no
AVX-512, and the fold uses none.
"""

from __future__ import annotations

import argparse
import collections
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import facts, save

ROOT = Path(__file__).resolve().parent.parent
EVENTS = {
    "Ir": "instructions",
    "Dr": "reads",
    "Dw": "writes",
    "D1mr": "reads that miss 32 KiB",
    "D1mw": "writes that miss 32 KiB",
    "Bcm": "branches guessed wrong",
}


def build() -> Path:
    """Build the program that is counted, and return it."""
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--package",
        "fraudengine-core",
        "--example",
        "fold",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target" / "release" / "examples" / "fold"


def count(program: Path) -> tuple[int, str, dict[str, dict[str, int]]]:
    """Return the transactions, the digest of their features, and the counts by function and event."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        options = ["--cache-sim=yes", "--branch-sim=yes", "--toggle-collect=fold::counted"]
        command = [
            "valgrind",
            "-q",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            *options,
            str(program),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        show = ["callgrind_annotate", "--auto=no", "--threshold=100", f"--show={','.join(EVENTS)}", str(out)]
        table = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    transactions, digest = ran.stdout.split()
    functions: dict[str, dict[str, int]] = collections.defaultdict(lambda: dict.fromkeys(EVENTS, 0))
    for line in table.splitlines():
        cells = re.findall(r"(?:([\d,]+) \([ \d.]+%\)|(\.|\b0)) +", line)
        name = re.search(r"\s\S+?:(\S.*?)(?: \[.*\])?$", line)
        if name is None or len(cells) != len(EVENTS):
            continue
        for event, (number, _) in zip(EVENTS, cells, strict=True):
            functions[name[1]][event] += int(number.replace(",", "") or 0)
    return int(transactions), digest, functions


def main() -> None:
    """Build, count, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--top", type=int, default=20)
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not there: apt-get install valgrind")

    transactions, digest, functions = count(build())
    totals = {event: sum(each[event] for each in functions.values()) for event in EVENTS}
    print(f"{transactions:,} transactions, digest of their features {digest}")
    for event, meaning in EVENTS.items():
        print(f"{totals[event] / transactions:9,.1f} {meaning}")
    print(f"\n{'instructions':>12} {'wrong':>6}  function")
    for name, each in sorted(functions.items(), key=lambda item: -item[1]["Ir"])[: options.top]:
        print(f"{each['Ir'] / transactions:12,.1f} {each['Bcm'] / transactions:6.1f}  {name}")
    per_transaction = {meaning: totals[event] / transactions for event, meaning in EVENTS.items()}
    save("instructions", {"machine": facts(), "digest": digest, "per_transaction": per_transaction})


if __name__ == "__main__":
    main()
