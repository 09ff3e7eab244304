"""`fraudengine up` and `fraudengine down`: Kafka, PostgreSQL, Redis without containers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.live import Live
from rich.table import Table

from fraudengine.cli.console import errors, notify, print_json
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.cli.signals import terminated_like_interrupted
from fraudengine.errors import ServiceError

if TYPE_CHECKING:
    from fraudengine.services import Service, Stack

__all__ = ["register"]

_REFRESH_SECONDS = 1.0

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder of the services; as embedded.folder.")
]


def up(
    detach: Annotated[bool, typer.Option("--detach", help="Leave the services running and return.")] = False,
    folder: FolderOption = None,
    kafka_port: Annotated[int | None, typer.Option(help="0 picks a free one, once.")] = None,
    postgres_port: Annotated[int | None, typer.Option(help="0 picks a free one, once.")] = None,
    redis_port: Annotated[int | None, typer.Option(help="0 picks a free one, once.")] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON.")] = False,
) -> None:
    """Start Kafka, PostgreSQL and Redis on this machine, with the topics of the stream; data is kept.

    Without containers and without root: programs come from the extra `demo` or from PATH. Started are those
    whose address is empty in the settings. Until Ctrl-C their state is shown, then they are stopped; what
    runs already is left running.

    [bold]Examples[/bold]

    fraudengine up

    fraudengine up --detach --json

    fraudengine up --folder data/services --kafka-port 9092 --postgres-port 5432 --redis-port 6379
    """
    from fraudengine import services
    from fraudengine.services.topics import create_topics

    own = {
        "embedded.folder": folder,
        "embedded.kafka_port": kafka_port,
        "embedded.postgres_port": postgres_port,
        "embedded.redis_port": redis_port,
    }
    settings = load_settings(config, assignments, own)
    wanted = settings.embedded_wanted()
    if not wanted:
        notify(["kafka, postgres and redis all have an address in the settings: there is nothing to start"])
        if as_json:
            print_json({})
        return
    with terminated_like_interrupted():
        stack = services.up(settings.embedded, only=wanted, report=_tell)
        try:
            if "kafka" in wanted and (created := create_topics(settings.resolved(stack).kafka)):
                notify([f"kafka: topics created: {', '.join(created)}"])
            if as_json:
                print_json(_summary(stack))
            elif detach or not stack.started:
                _print(stack)
            if detach or not stack.started:
                return
            _watch(stack, live=not as_json)
        except KeyboardInterrupt:
            # In the foreground this is the way to end it.
            stack.down()
            notify([f"stopped: {', '.join(stack.started)}; data is kept in {stack.folder}"])
        except BaseException:
            stack.down()
            raise


def down(
    folder: FolderOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was stopped as JSON.")] = False,
) -> None:
    """Stop the services that `fraudengine up` has started; their data stays.

    [bold]Examples[/bold]

    fraudengine down

    fraudengine down --folder data/services --json
    """
    from fraudengine import services

    settings = load_settings(config, assignments, {"embedded.folder": folder})
    stopped = services.down(settings.embedded.folder)
    if as_json:
        print_json({"folder": str(settings.embedded.folder.absolute()), "stopped": stopped})
    else:
        notify(
            [f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs in {settings.embedded.folder}"]
        )


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("up")(up)
    app.command("down")(down)


def _tell(name: str, line: str) -> None:
    notify([f"{name}: {line}"])


def _summary(stack: Stack) -> dict[str, object]:
    told: dict[str, object] = {"folder": str(stack.folder)}
    for name, service in stack.services.items():
        told[name] = {
            "address": service.address,
            "pid": service.process.pid,
            "started": name in stack.started,
            "log": str(service.log),
        }
    return told


def _print(stack: Stack) -> None:
    # Plain lines: an address is there to be copied, and a table would fold it.
    for name, service in stack.services.items():
        state = "started" if name in stack.started else "ran already"
        typer.echo(f"{name:<9} {service.address}  (process {service.process.pid}, {state})")


def _watch(stack: Stack, *, live: bool) -> NoReturn:
    """Show the services until interrupted; raise when one has ended by itself."""
    notify(["running until Ctrl-C"])
    pause = threading.Event()
    with Live(console=errors(), auto_refresh=False, transient=True) as shown:
        while True:
            if ended := stack.ended():
                each = ended[0]
                raise ServiceError(f"{each.name} (process {each.process.pid}) has ended; its log: {each.log}")
            if live:
                shown.update(_table(stack), refresh=True)
            pause.wait(_REFRESH_SECONDS)


def _table(stack: Stack) -> Table:
    table = Table(title=f"Services in {stack.folder} - Ctrl-C stops them", title_justify="left")
    for column in ("service", "address", "process", "memory MiB"):
        table.add_column(column, justify="right" if column.endswith("MiB") else "left")
    for name, service in stack.services.items():
        table.add_row(name, service.address, str(service.process.pid), _resident_mib(service))
    return table


def _resident_mib(service: Service) -> str:
    resident = service.process.resident_bytes()
    return "" if resident is None else f"{resident / 2**20:,.0f}"
