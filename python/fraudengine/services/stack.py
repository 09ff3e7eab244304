"""Start, find and stop the services of one data folder.

`up` starts in parallel what does not run yet and waits until all of it answers; when one cannot be started,
those that this call has started are stopped again. A service counts as running when the process that the
folder remembers lives (by id and birth) and its port answers; a memory of a process that is gone is
forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fraudengine.errors import ServiceError
from fraudengine.services import postgres as postgres_module
from fraudengine.services.kafka import Kafka
from fraudengine.services.ports import HOST, choose, listening
from fraudengine.services.postgres import Postgres
from fraudengine.services.processes import Process, wait_until
from fraudengine.services.redis import Redis
from fraudengine.services.starting import Launcher, Report, forget, start_all, stop_service
from fraudengine.services.state import State, locked

if TYPE_CHECKING:
    from fraudengine.config import EmbeddedSettings

__all__ = ["ALL", "Service", "Stack", "down", "running", "up"]

ALL = ("kafka", "redis", "postgres")
"""Names of the services, in the order in which they are stopped: the source of new work first."""


@dataclass(frozen=True, slots=True)
class Service:
    """One running service: its process, the port on 127.0.0.1, and the log of what it says."""

    name: str
    process: Process
    port: int
    log: Path

    @property
    def address(self) -> str:
        """Return what a client is given: bootstrap servers for kafka, a URL for the others."""
        if self.name == "kafka":
            return f"{HOST}:{self.port}"
        if self.name == "redis":
            return f"redis://{HOST}:{self.port}/0"
        return f"postgresql://{postgres_module.USER}@{HOST}:{self.port}/{postgres_module.DATABASE}"


@dataclass(frozen=True, slots=True)
class Stack:
    """The running services of a folder. As a context manager it stops those that it has started."""

    folder: Path
    services: Mapping[str, Service]
    started: tuple[str, ...] = ()
    """Names of those that this call of `up` has started; the others ran already."""

    @property
    def kafka_brokers(self) -> str:
        """Return the bootstrap servers of Kafka."""
        return self._service("kafka").address

    @property
    def postgres_url(self) -> str:
        """Return the URL of the database."""
        return self._service("postgres").address

    @property
    def redis_url(self) -> str:
        """Return the URL of Redis."""
        return self._service("redis").address

    def ended(self) -> list[Service]:
        """Return the services whose process does not live any more."""
        return [service for service in self.services.values() if not service.process.alive()]

    def down(self) -> None:
        """Stop the services that this call of `up` has started."""
        down(self.folder, only=self.started)

    def __enter__(self) -> Self:
        """Return the stack itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started, whatever happened."""
        self.down()

    def _service(self, name: str) -> Service:
        try:
            return self.services[name]
        except KeyError:
            raise ServiceError(
                f"{name} does not run in {self.folder}: start it with `fraudengine up`"
            ) from None


def up(
    settings: EmbeddedSettings,
    *,
    only: Collection[str] = ALL,
    report: Report = lambda _name, _line: None,
) -> Stack:
    """Start the services that do not run yet and wait until all answer.

    Parameters
    ----------
    settings
        Folder, ports and the heap of Kafka.
    only
        Names of the services that are wanted.
    report
        Called with the name of a service and one line about it: what is fetched, started, or ready.

    Raises
    ------
    ServiceError
        A program is missing, a port is taken, or a service ends or stays silent while starting.
    """
    folder = Path(settings.folder).expanduser().absolute()
    try:
        # Others may pass through but not look: as root, Postgres runs as another user.
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise ServiceError(f"the data folder {folder} cannot be made: {error}") from error
    wanted = {"kafka": settings.kafka_port, "postgres": settings.postgres_port, "redis": settings.redis_port}
    launchers = _launchers(settings.kafka_heap_mb)
    with locked(folder):
        state = State.read(folder)
        _refuse_moved_ports(folder, state, {name: wanted[name] for name in only})
        missing = [launchers[name] for name in ALL if name in only and not _runs(launchers[name], state)]
        for launcher in missing:
            forget(launcher, state)
        names = [port for launcher in missing for port in launcher.ports]
        state.ports |= choose({name: wanted.get(name, 0) for name in names}, state.ports)
        state.write(folder)
        start_all(missing, folder, state, report)
        services = _services(folder, state, only)
    return Stack(folder, services, tuple(launcher.name for launcher in missing))


def running(folder: Path | str) -> Stack | None:
    """Return the services that run over a folder now; None when there are none."""
    folder = Path(folder).expanduser().absolute()
    state = State.read(folder)
    launchers = _launchers()
    names = [
        name
        for name, process in state.processes.items()
        if name in launchers and process.alive() and listening(state.ports.get(name, 0))
    ]
    return Stack(folder, _services(folder, state, names)) if names else None


def down(folder: Path | str, *, only: Collection[str] = ALL) -> list[str]:
    """Stop the services of a folder, in order; their data stays.

    Returns
    -------
    list of str
        Names of those that ran and were stopped.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        return []
    stopped = []
    with locked(folder):
        state = State.read(folder)
        launchers = _launchers()
        for name in ALL:
            process = state.processes.get(name)
            if name not in only or process is None:
                continue
            if process.alive():
                stop_service(launchers[name], process)
                stopped.append(name)
            del state.processes[name]
            state.write(folder)
    return stopped


def _launchers(kafka_heap_mb: int = 0) -> dict[str, Launcher]:
    launchers: list[Launcher] = [Kafka(kafka_heap_mb), Redis(), Postgres()]
    return {launcher.name: launcher for launcher in launchers}


def _services(folder: Path, state: State, only: Collection[str]) -> dict[str, Service]:
    return {
        name: Service(name, state.processes[name], state.ports[name], folder / f"{name}.log")
        for name in ALL
        if name in only
    }


def _refuse_moved_ports(folder: Path, state: State, wanted: Mapping[str, int]) -> None:
    for name, port in wanted.items():
        process = state.processes.get(name)
        now = state.ports.get(name)
        if port and now not in (None, port) and process is not None and process.alive():
            raise ServiceError(
                f"{name} runs in {folder} on port {now}, embedded.{name}_port is {port}: stop it first with "
                f"`fraudengine down`"
            )


def _runs(launcher: Launcher, state: State) -> bool:
    process = state.processes.get(launcher.name)
    if process is None or not process.alive() or launcher.ports[0] not in state.ports:
        return False
    # A live process may still be loading its data: it has the time that a start has.
    answered = False

    def settled() -> bool:
        nonlocal answered
        answered = launcher.answers(state.ports)
        return answered or not process.alive()

    wait_until(settled, launcher.ready_seconds)
    return answered and process.alive()
