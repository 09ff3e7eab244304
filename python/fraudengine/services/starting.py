"""Start several services at once and wait until each answers; on any failure or interruption none is left.

What a service has to say about itself (where its program is, how it is started and asked) is the protocol
`Launcher`, which the modules `kafka`, `postgres` and `redis` implement.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fraudengine.errors import ServiceError
from fraudengine.services.processes import Launch, Process, last_line, spawn, stop, wait_until
from fraudengine.services.state import State

__all__ = ["Launcher", "Report", "forget", "start_all", "stop_service"]

Report = Callable[[str, str], None]
"""Called with the name of a service and one line about it."""


class Launcher(Protocol):
    """What a service's module says about it."""

    @property
    def name(self) -> str:
        """Return the service's name, which is also the name of its folder and of its log."""

    @property
    def ports(self) -> tuple[str, ...]:
        """Return the names of the ports it needs; the first is the one that clients connect to."""

    @property
    def stop_signal(self) -> signal.Signals:
        """Return the signal at which it ends in order, with its data kept."""

    @property
    def ready_seconds(self) -> float:
        """Return how long it may take to answer after it was started."""

    @property
    def stop_seconds(self) -> float:
        """Return how long it may take to end before it is killed."""

    @property
    def passing(self) -> tuple[str, ...]:
        """Return parts of last log lines after which a start that failed is tried again."""

    def prepare(self, folder: Path, ports: Mapping[str, int], report: Callable[[str], None]) -> Launch:
        """Find the program, write its configuration, make its data folder; return how it is started."""

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Tell whether it answers a client now."""


def start_all(launchers: Collection[Launcher], folder: Path, state: State, report: Report) -> None:
    """Start the services in parallel and return when all answer; the state on disk follows each step.

    Raises
    ------
    ServiceError
        One cannot be started; the others are stopped again.
    """
    if not launchers:
        return
    starting = _Starting(folder, state, report)
    try:
        with ThreadPoolExecutor(len(launchers)) as starters:
            starts = [starters.submit(starting.start, each) for each in launchers]
            try:
                wait(starts)
            except BaseException:
                starting.given_up.set()
                raise
        for start in starts:
            start.result()
    except BaseException:
        for launcher in launchers:
            forget(launcher, state)
        state.write(folder)
        raise


def forget(launcher: Launcher, state: State) -> None:
    """Drop the memory of an earlier process, ending it if it lives."""
    process = state.processes.pop(launcher.name, None)
    if process is not None and process.alive():
        stop_service(launcher, process)


def stop_service(launcher: Launcher, process: Process) -> None:
    """End a process of a service as the service wants it: in time, else by force."""
    stop(process, launcher.stop_signal, deadline_seconds=launcher.stop_seconds)


@dataclass(slots=True)
class _Starting:
    """What the threads of one `start_all` share; only `state` is written, under the lock."""

    folder: Path
    state: State
    report: Report
    given_up: threading.Event = field(default_factory=threading.Event)
    writing: threading.Lock = field(default_factory=threading.Lock)

    def start(self, launcher: Launcher) -> None:
        try:
            launch = launcher.prepare(
                self.folder, self.state.ports, lambda line: self.report(launcher.name, line)
            )
        except OSError as error:
            raise ServiceError(f"{launcher.name} cannot be prepared in {self.folder}: {error}") from error
        self.report(launcher.name, "starting")
        process = self._spawned(launcher.name, launch)

        def settled() -> bool:
            nonlocal process
            if self.given_up.is_set():
                raise ServiceError(f"starting {launcher.name} was given up")
            if process.alive():
                return launcher.answers(self.state.ports)
            said = last_line(launch.log)
            if not any(text in said for text in launcher.passing):
                raise ServiceError(f"{launcher.name} ended while starting: {said} (all of it: {launch.log})")
            process = self._spawned(launcher.name, launch)
            return False

        if not wait_until(settled, launcher.ready_seconds):
            raise ServiceError(
                f"{launcher.name} did not answer within {launcher.ready_seconds:.0f} s: "
                f"{last_line(launch.log)} (all of it: {launch.log})"
            )
        self.report(launcher.name, "ready")

    def _spawned(self, name: str, launch: Launch) -> Process:
        process = spawn(launch)
        # Remembered at once, not when it answers: an `up` that is killed half-way leaves nothing unknown.
        with self.writing:
            self.state.processes[name] = process
            self.state.write(self.folder)
        return process
