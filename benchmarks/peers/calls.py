"""What every contestant's process does: answer calls by name over its standard input and output.

A contestant runs in its own interpreter. It loads everything first, says so, and then does one thing at a
time when it is asked to; while others take their turn it waits. This file imports nothing but the standard
library, because the interpreter of each peer runs it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TICKS = os.sysconf("SC_CLK_TCK")


def tree_seconds(root: int) -> float:
    """Return the processor time so far of a process and of all that descend from it and still run.

    Children that have ended are counted with the process that waited for them.
    """
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        spent[pid] = sum(map(int, fields[11:15])) / TICKS
    total = 0.0
    for pid, seconds in spent.items():
        at = pid
        while at not in (root, 0):
            at = parents.get(at, 0)
        total += seconds if at == root else 0.0
    return total


def timed(work: Callable[[], int], clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Run work that returns how many units it did; return units, wall and processor seconds."""
    wall, cpu = time.perf_counter(), clock()
    units = work()
    return {"units": units, "wall": time.perf_counter() - wall, "cpu": clock() - cpu}


def serve(functions: dict[str, Callable[..., Any]]) -> None:
    """Answer calls until standard input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps({"value": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": functions[asked["call"]](**asked["arguments"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
