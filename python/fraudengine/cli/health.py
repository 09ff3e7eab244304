"""`fraudengine health`: whether a part answers; what health checks of containers and scripts call."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudengine.cli.console import notify

__all__ = ["register"]


def health(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="http(s)://HOST:PORT/PAGE, which must answer 2xx, or grpc://HOST:PORT: must say SERVING.",
        ),
    ],
    wait: Annotated[float, typer.Option(min=0.0, help="Ask again for so many seconds.")] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one answer may take.")] = 3.0,
) -> None:
    """Tell by the exit code whether a part of the system is healthy.

    [bold]Examples[/bold]

    fraudengine health http://127.0.0.1:9464/readyz

    fraudengine health grpc://127.0.0.1:50051 --wait 60
    """
    from fraudengine.health import wait_healthy

    notify([wait_healthy(address, wait_seconds=wait, timeout_seconds=timeout)])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("health")(health)
