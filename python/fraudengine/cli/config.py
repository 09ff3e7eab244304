"""`fraudengine config`: which settings are in force, and where each of them came from."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudengine.cli.console import print_json, print_table
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings

__all__ = ["register"]


def config(
    file: ConfigOption = None,
    assignments: SetOption = None,
    default: Annotated[bool, typer.Option("--default", help="Print the commented file of defaults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the settings as JSON.")] = False,
) -> None:
    """Print the effective settings with their origins; secrets are masked.

    [bold]Examples[/bold]

    fraudengine config

    fraudengine config --default > fraudengine.toml

    FRAUDENGINE_KAFKA__BROKERS=kafka:9092 fraudengine config --set engine.threads=2 --json
    """
    from fraudengine.config import default_text

    if default:
        typer.echo(default_text(), nl=False)
        return
    settings = load_settings(file, assignments)
    if as_json:
        told: dict[str, dict[str, object]] = {}
        for name, value, origin in settings.printable():
            section, key = name.split(".")
            told.setdefault(section, {})[key] = {"value": value, "origin": origin}
        print_json(told)
    else:
        rows = [(name, _shown(value), origin) for name, value, origin in settings.printable()]
        print_table("Settings in force", ["setting", "value", "from"], rows)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("config")(config)


def _shown(value: object) -> str:
    # As in the file, so that a line can be copied there; an empty text is told apart from nothing.
    return str(value).lower() if isinstance(value, bool) else '""' if value == "" else str(value)
