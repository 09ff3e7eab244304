"""`fraudengine stream`: decide transactions from Kafka as they come."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["register"]


def stream(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Model; default: the one activated last.")
    ] = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address and the end as JSON.")] = False,
) -> None:
    """Decide the transactions of a Kafka topic until interrupted.

    A second process of the same consumer group stands by with the state at hand, and takes over when this one
    ends: at once with the same state folder, with another one when the session is over. Operators find
    metrics, health and status at the address that is printed.

    [bold]Examples[/bold]

    fraudengine up --detach && fraudengine stream model

    fraudengine stream model --set kafka.brokers=kafka-1:9092,kafka-2:9092 --set engine.threads=2
    """
    from fraudengine.streaming import StreamProcess

    settings = load_settings(file, assignments)
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    with StreamProcess(settings, bundle) as process:
        before = [signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)]
        told = {"address": process.address, "bundle": str(process.bundle.path)}
        if as_json:
            print_json(told)
        notify([f"streaming with {told['bundle']}; metrics and status at {told['address']}"])
        while not process.wait(0.05) and not asked.is_set():
            pass
        process.stop()
        while not process.wait(1.0):
            pass
        status = process.status()
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    if as_json:
        print_json(status)
    notify([f"stopped after {status['decisions']:,} decisions"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("stream")(stream)
