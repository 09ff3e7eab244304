"""What a long run of the stream has left, counted in little memory, and what each program has cost.

A transaction is known by where it was in its topic: partition and offset as one number. A log of 30,000,000
decisions is 240 MB of them; the table of PostgreSQL is read as a binary copy of the same two columns.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Spent", "in_log", "in_table"]

TICKS = os.sysconf("SC_CLK_TCK")
_HEADER = 19
_ROW = np.dtype(
    [("fields", ">u2"), ("size1", ">i4"), ("partition", ">i4"), ("size2", ">i4"), ("offset", ">i8")]
)


def in_log(bare: Path, brokers: str, topic: str, folder: Path) -> NDArray[np.uint64]:
    """Return the sources of all decisions of a log, sorted; what was decided twice is there twice."""
    file = folder / "sources"
    subprocess.run([bare, "sources", brokers, topic, file], check=True)
    sources = np.fromfile(file, dtype="<u8")
    file.unlink()
    sources.sort()
    return sources


def in_table(url: str) -> NDArray[np.uint64]:
    """Return the sources of all rows of `transactions`, sorted."""
    query = "COPY (SELECT source_partition, source_offset FROM transactions) TO STDOUT (FORMAT binary)"
    with psycopg.connect(url) as connection, connection.cursor().copy(query) as copy:
        parts = [
            rows["partition"].astype(np.uint64) << np.uint64(48) | rows["offset"].astype(np.uint64)
            for rows in _blocks(copy)
        ]
    sources = np.concatenate(parts)
    sources.sort()
    return sources


def _blocks(copy: psycopg.Copy) -> Iterator[NDArray[np.void]]:
    """Yield the rows of a binary copy, many at a time."""
    held, skip = bytearray(), _HEADER
    for data in copy:
        held += data
        if skip and len(held) >= skip:
            del held[:skip]
            skip = 0
        whole = len(held) // _ROW.itemsize
        if not skip and whole >= 100_000:
            yield np.frombuffer(bytes(held[: whole * _ROW.itemsize]), _ROW)
            del held[: whole * _ROW.itemsize]
    # The trailer is two bytes of ones.
    yield np.frombuffer(bytes(held[: len(held) // _ROW.itemsize * _ROW.itemsize]), _ROW)


def _stat(path: Path) -> tuple[str, int, float]:
    """Return name, parent and processor seconds by a `stat` file of /proc."""
    name, _, rest = path.read_text(errors="replace").partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


class Spent:
    """Processor time of programs from now on: the threads of some, the processes below others.

    Parameters
    ----------
    threads
        Programs by name, by process id, of which each kind of thread is told.
    trees
        Programs, by process id, of which it and its children are told together.

    """

    def __init__(self, threads: dict[str, int], trees: dict[str, int]) -> None:
        self._threads, self._trees = threads, trees
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        now: dict[str, float] = {}

        def add(name: str, seconds: float) -> None:
            now[name] = now.get(name, 0.0) + seconds

        for program, pid in self._threads.items():
            for task in Path(f"/proc/{pid}/task").glob("*/stat"):
                try:
                    name, _, seconds = _stat(task)
                except OSError:
                    continue
                add(f"{program}: {'librdkafka' if name.startswith('rdk:') else name}", seconds)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                _, parent, seconds = _stat(stat)
            except OSError:
                continue
            for program, pid in self._trees.items():
                if int(stat.parent.name) == pid or parent == pid:
                    add(program, seconds)
        return now

    def per_record(self, records: int) -> dict[str, float]:
        """Return microseconds per record, the dearest first; what rounds to nothing is left out."""
        told = {
            name: round((seconds - self._before.get(name, 0.0)) / max(1, records) * 1e6, 2)
            for name, seconds in self._now().items()
        }
        return dict(sorted(((name, us) for name, us in told.items() if us), key=lambda each: -each[1]))
