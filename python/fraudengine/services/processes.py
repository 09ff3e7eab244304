"""Child processes that outlive their parent: in a group of their own, recognised later, stopped by id.

A process is named by its id and its birth (the moment the kernel started it), so that an id which the
system has given to another program since is never mistaken for ours and never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fraudengine.errors import ServiceError

__all__ = ["Launch", "Process", "last_line", "spawn", "stop", "wait_until"]

_LOG_BYTES_MAX = 16 * 1024 * 1024
_POLL_SECONDS = 0.03
_PROC = Path("/proc/self").parent

# Children of this very process, kept so that the ended ones are reaped and do not linger as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the system, recognisable after its id was given away."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this id now; None when there is none or it is a zombie."""
        birth = _birth(pid)
        return None if birth is None else cls(pid, birth)

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return _birth(self.pid) == self.birth

    def resident_bytes(self) -> int | None:
        """Return the memory it holds of the machine's; None where the system does not tell."""
        try:
            pages = int((_PROC / str(self.pid) / "statm").read_text().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Launch:
    """How one service is started: its command, where its output goes, and as whom it runs."""

    command: Sequence[str]
    log: Path
    folder: Path
    environment: Mapping[str, str]
    user: str | None = None


def spawn(launch: Launch) -> Process:
    """Start a process in a session of its own: a Ctrl-C in the terminal does not reach it.

    Raises
    ------
    ServiceError
        The program cannot be run.
    """
    if launch.log.exists() and launch.log.stat().st_size > _LOG_BYTES_MAX:
        launch.log.replace(launch.log.with_suffix(".log.old"))
    with launch.log.open("ab") as output:
        try:
            child = subprocess.Popen(
                launch.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=launch.folder,
                env=dict(launch.environment),
                user=launch.user,
                extra_groups=None if launch.user is None else [],
                start_new_session=True,
            )
        except OSError as error:
            raise ServiceError(f"{launch.command[0]} cannot be run: {error}") from error
    _children[child.pid] = child
    return Process.of(child.pid) or Process(child.pid, "ended at once")


def stop(process: Process, stop_signal: signal.Signals, *, deadline_seconds: float) -> bool:
    """End a process: first by its signal, after the deadline by SIGKILL.

    Returns
    -------
    bool
        True: it ended by itself or was not there any more. False: it had to be killed.
    """
    for number, seconds in ((stop_signal, deadline_seconds), (signal.SIGKILL, deadline_seconds)):
        if not process.alive():
            return True
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return True
        if wait_until(lambda: not process.alive(), seconds):
            return number == stop_signal
    raise ServiceError(f"process {process.pid} cannot be stopped")


def wait_until(condition: Callable[[], bool], deadline_seconds: float) -> bool:
    """Ask until the condition holds or the deadline has passed; tell which."""
    deadline = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(_POLL_SECONDS)
    return True


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _birth(pid: int) -> str | None:
    if _PROC.is_dir():
        try:
            # Behind the name, which may hold anything: field 3 is the state, field 22 the start in clock
            # ticks.
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    told = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, birth = told.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else birth.strip()
