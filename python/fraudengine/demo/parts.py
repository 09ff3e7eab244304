"""The other parts of a live demonstration: scoring service, alerts, dashboard, each a process of its own.

They are started by the commands of their names with the settings file of the demonstration, whatever the
environment says, and stopped by their ids: at the end, or by the next run when this process was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fraudengine.errors import ServiceError
from fraudengine.health import unhealthy
from fraudengine.services import ports
from fraudengine.services.processes import Launch, Process, last_line, spawn, stop, wait_until

__all__ = ["Part", "Parts", "free_port", "stop_left"]

_FILE: Final = "parts.json"
_MAIN: Final = "from fraudengine.cli import main; main()"
_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process.

    Attributes
    ----------
    name
        Of its command.
    address
        What people are told.
    process, log
        The process, and the file that has what it says.

    """

    name: str
    address: str
    process: Process
    log: Path


class Parts:
    """The parts of one demonstration; a context manager that stops them, the last one first.

    Parameters
    ----------
    out
        Its folder.
    settings
        Its settings file.

    """

    def __init__(self, out: Path, settings: Path) -> None:
        self._out = out.absolute()
        self._settings = settings.absolute()
        self.running: list[Part] = []

    def start(self, name: str, arguments: Sequence[str], *, address: str, health: str) -> None:
        """Start a part, and wait until it is healthy.

        Parameters
        ----------
        name
            Command of `fraudengine`.
        arguments
            What follows it.
        address
            What people are told.
        health
            As in `fraudengine.health.unhealthy`.

        Raises
        ------
        ServiceError
            It has ended, or is not healthy after two minutes; the message names its log.

        """
        command = [sys.executable, "-c", _MAIN, name, *arguments, "--config", str(self._settings)]
        log = self._out / f"{name}.log"
        log.unlink(missing_ok=True)
        ours = {key: value for key, value in os.environ.items() if not key.startswith("FRAUDENGINE_")}
        process = spawn(Launch(command, log, self._out, ours))
        part = Part(name=name, address=address, process=process, log=log)
        self.running.append(part)
        self._remember()
        wrong = "it has not answered yet"

        def settled() -> bool:
            nonlocal wrong
            wrong = unhealthy(health, _ANSWER_SECONDS)
            return not wrong or not process.alive()

        wait_until(settled, _READY_SECONDS)
        self.check()
        if wrong:
            raise ServiceError(f"{name} is not healthy after {_READY_SECONDS:.0f} s: {wrong}; its log: {log}")

    def start_dashboard(self, port: int, stream: str, tell: Callable[[str], None]) -> None:
        """Start the dashboard on a port, with the stream's door for operators; raises as `start`."""
        tell("starting the dashboard")
        address = f"http://{ports.HOST}:{port}"
        arguments = ["--port", str(port), *_set(f"dashboard.stream={stream}")]
        self.start("dashboard", arguments, address=address, health=f"{address}/_stcore/health")
        tell(f"look while it runs: {address}")
        tell(f"or elsewhere: fraudengine status --live --url {stream}")

    def start_alerts(self, inbox: Path) -> None:
        """Start alerts, which write into a folder; raises as `start`."""
        port = free_port(0, 0)
        door = f"http://{ports.HOST}:{port}"
        arguments = ["--inbox", str(inbox), *_set(f"http.port={port}")]
        self.start("alerts", arguments, address=f"{inbox} ({door}/status)", health=f"{door}/readyz")

    def start_serve(self, port: int, bundle: Path, tell: Callable[[str], None]) -> None:
        """Start the scoring service in front of the stream; raises as `start`."""
        address = f"{ports.HOST}:{port}"
        settings = _set(f"serve.port={port}", "http.port=0", "serve.reflection=true")
        arguments = ["--stream", str(bundle.absolute()), *settings]
        self.start("serve", arguments, address=address, health=f"grpc://{address}")
        tell(f"scoring over gRPC: fraudengine score --address {address} --file payments.jsonl")

    def check(self) -> None:
        """Raise `ServiceError` when a part has ended by itself."""
        for part in self.running:
            if not part.process.alive():
                raise ServiceError(f"{part.name} has ended: {last_line(part.log)}; its log: {part.log}")

    def _remember(self) -> None:
        told = [asdict(part.process) for part in self.running]
        (self._out / _FILE).write_text(json.dumps(told), encoding="utf-8")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all of them."""
        stop_left(self._out)


def stop_left(out: Path) -> None:
    """Stop the parts that the folder remembers, also those of a demonstration that was killed."""
    file = out / _FILE
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return
    left = [Process(**each) for each in reversed(told)]
    # All are asked before any is waited for.
    for process in left:
        if process.alive():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
    for process in left:
        stop(process, signal.SIGTERM, deadline_seconds=_STOP_SECONDS)
    file.unlink()


def _set(*assignments: str) -> list[str]:
    return [argument for assignment in assignments for argument in ("--set", assignment)]


def free_port(wanted: int | None, usual: int) -> int:
    """Return a port: the wanted one, a free one for 0, and for None the usual one unless it is taken.

    Raises
    ------
    ServiceError
        The wanted port is taken.

    """
    if wanted:
        if ports.listening(wanted):
            raise ServiceError(f"port {wanted} is taken by another program; 0 picks a free one")
        return wanted
    if wanted is None and not ports.listening(usual):
        return usual
    return ports.choose({"free": 0}, {})["free"]
