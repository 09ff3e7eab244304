"""`fraudengine model`: exchange the model of a running stream, and go back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fraudengine.cli.console import notify, print_json
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.streaming.client import OperatorClient

__all__ = ["register"]

_app = typer.Typer(help="Exchange the model of a running stream.", no_args_is_help=True)

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Address of the stream; default: http.host and http.port.")
]


@_app.command("activate")
def activate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle, on that machine.")],
    url: UrlOption = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Decide with another bundle from the next records on. It is verified first; if refused, nothing changes.

    [bold]Examples[/bold]

    fraudengine model activate models/november
    """
    _tell(OperatorClient.of(load_settings(file, assignments), url).activate(bundle), as_json=as_json)


@_app.command("rollback")
def rollback(
    url: UrlOption = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Decide again with the bundle before the active one.

    [bold]Examples[/bold]

    fraudengine model rollback
    """
    _tell(OperatorClient.of(load_settings(file, assignments), url).roll_back(), as_json=as_json)


def _tell(answer: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    notify([f"deciding with {answer['bundle']} ({str(answer['bundle_hash'])[:16]})"])


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    app.add_typer(_app, name="model")
