"""What a data folder remembers: the ports once picked and the processes last started there.

The file is replaced as a whole, so a reader sees the old state or the new one. Whoever changes it holds the
folder's lock, which the system releases when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fraudengine.errors import ServiceError
from fraudengine.services.processes import Process

__all__ = ["State", "locked"]

_NAME = "services.json"
_VERSION = 1


@dataclass(slots=True)
class State:
    """Ports by name, and processes by the name of their service."""

    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> State:
        """Return the state of a folder; an empty one when nothing was ever started there.

        Raises
        ------
        ServiceError
            The file is not one that this version writes.
        """
        path = folder / _NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ServiceError(f"{path} cannot be read: {error}") from error
        try:
            return _parsed(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServiceError(
                f"{path} is not a state file of this version ({error}): stop what runs there and remove it"
            ) from error

    def write(self, folder: Path) -> None:
        """Replace the state of a folder."""
        told = {
            "version": _VERSION,
            "ports": self.ports,
            "processes": {
                name: {"pid": each.pid, "birth": each.birth} for name, each in self.processes.items()
            },
        }
        path = folder / _NAME
        new = path.with_suffix(".new")
        new.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        new.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone while the block runs; waits for another `up` or `down` to finish.

    Raises
    ------
    ServiceError
        The folder belongs to somebody else.
    """
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServiceError(f"the data folder {folder} cannot be used: {error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _parsed(told: dict[str, Any]) -> State:
    if told["version"] != _VERSION:
        raise ValueError(f"version {told['version']}")
    return State(
        ports={str(name): int(port) for name, port in told["ports"].items()},
        processes={
            str(name): Process(int(each["pid"]), str(each["birth"]))
            for name, each in told["processes"].items()
        },
    )
