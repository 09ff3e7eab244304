"""`fraudengine dashboard`: what analysts look at."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudengine.cli.console import notify, print_json
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings

__all__ = ["register"]


def dashboard(
    port: Annotated[int | None, typer.Option("--port", help="As dashboard.port; 0 picks a free one.")] = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Show what the stream decides, in a browser, until interrupted.

    Reads PostgreSQL and Redis, never the engine. Without a password it is for this machine only, and
    everybody here is an analyst.

    [bold]Examples[/bold]

    fraudengine dashboard --config demo/fraudengine.toml

    FRAUDENGINE_DASHBOARD__ANALYST_PASSWORD=... fraudengine dashboard --set dashboard.host=0.0.0.0
    """
    from fraudengine.dashboard.launch import run

    settings = load_settings(file, assignments, {"dashboard.port": port})

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address})
        notify([f"dashboard at {address}; Ctrl-C ends it"])

    run(settings, ready)
    notify(["the dashboard has ended"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("dashboard")(dashboard)
