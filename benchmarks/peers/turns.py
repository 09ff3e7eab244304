"""Contestants as processes that wait for their turn.

Every contestant is loaded before anything is timed, each in its own interpreter with one thread for numeric
libraries. Rounds go through all of them, so that a busy neighbour on the machine meets all alike, and the
median of a contestant's rounds is what is reported.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
}


class PeerError(Exception):
    """A contestant could not do what it was asked to; the message is its own."""


class Contestant:
    """A process that serves calls (`calls.serve`)."""

    def __init__(
        self, name: str, interpreter: Path, *command: str, more: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [interpreter, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, **(more or {})},
        )

    @property
    def pid(self) -> int:
        """Process id, of which the processor time is read."""
        return self._process.pid

    def _answer(self) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name} ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["value"]

    def ready(self) -> Self:
        """Wait until everything is loaded."""
        self._answer()
        return self

    def call(self, name: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """Do one thing and return what it said."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True)
class Figure:
    """Microseconds of one unit (row, transaction or call): wall and processor time, median of the rounds."""

    case: str
    contestant: str
    wall_us: float
    cpu_us: float

    @classmethod
    def of(cls, case: str, contestant: str, rounds: list[dict[str, float]]) -> Self:
        """Return the medians of rounds as `calls.timed` returns them."""
        wall = statistics.median(each["wall"] / each["units"] for each in rounds) * 1e6
        cpu = statistics.median(each["cpu"] / each["units"] for each in rounds) * 1e6
        return cls(case, contestant, wall, cpu)


def take_turns(cases: dict[str, list[tuple[Contestant, dict[str, Any]]]], rounds: int) -> list[Figure]:
    """Let the contestants of each case do `run` with their arguments, in turn, round after round."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        for case, contestants in cases.items():
            for contestant, arguments in contestants:
                told = contestant.call("run", **arguments)
                found.setdefault((case, contestant.name), []).append(told)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [Figure.of(case, name, told) for (case, name), told in found.items()]
