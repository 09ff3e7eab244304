"""`fraudengine compile`: the ensemble of a bundle as a native library for this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudengine.cli.console import notify, print_json
from fraudengine.cli.inspect import BundleArgument

__all__ = ["register"]


def compile_(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compile the ensemble of a bundle for this machine and keep the library in the bundle.

    Without a C compiler nothing is lost but speed: the engine scores the same model with its own code.

    [bold]Examples[/bold]

    fraudengine compile model
    """
    from fraudengine.training.compile import compile_bundle

    result = compile_bundle(bundle)
    notify([f"compiled {bundle}"])
    if as_json:
        print_json({"bundle": str(bundle), "result": str(result)})


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compile")(compile_)
