"""A process of ours under test, whatever its command: killed, followed by its log, never left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

__all__ = ["ChildUnderTest", "children_of"]


class ChildUnderTest:
    """One process; a context manager that ends it whatever happens. What is derived from it starts it."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing is flushed."""
        self.process.kill()
        self.process.wait(30)

    def tail(self, lines: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End it whatever happened."""
        if self.process.poll() is None:
            self.kill()


def children_of(pid: int) -> list[int]:
    """Return the ids of the children of a process."""
    tasks = (Path("/proc") / str(pid) / "task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
