"""`fraudengine compile`: the ensemble of a bundle as a native library for this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudengine.cli.console import print_json, print_table, progress
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
    from fraudengine.training.compile_bundle import compile_bundle

    with progress(shown=not as_json) as report:
        compiled = compile_bundle(bundle, report)
    libraries = {model: str(library) for model, library in compiled.libraries.items()}
    if as_json:
        print_json({"bundle": str(bundle), "libraries": libraries, "record": compiled.record})
    else:
        print_table(f"Compiled for this machine: {bundle}", ["model", "library"], list(libraries.items()))


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compile")(compile_)
