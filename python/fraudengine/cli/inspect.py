"""`fraudengine inspect`: what a bundle says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fraudengine.cli.console import print_json, print_table
from fraudengine.errors import BundleError

__all__ = ["BundleArgument", "print_bundle", "register"]

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `fraudengine train`.")]
"""The positional argument of a command that uses a bundle."""

_MANIFEST = "manifest.json"
_MANIFEST_BYTES_MAX = 16 << 20


def inspect(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as it is stored.")] = False,
) -> None:
    """Print the manifest of a bundle: versions, training window, metrics, files and their hashes.

    The files are not checked here; every command that uses the bundle checks them.

    [bold]Examples[/bold]

    fraudengine inspect model

    fraudengine inspect model --json | jq .metrics
    """
    print_bundle(bundle, as_json=as_json)


def print_bundle(bundle: Path, *, as_json: bool) -> None:
    """Print the manifest of a bundle on standard output.

    Raises
    ------
    BundleError
        The folder has no readable manifest.
    """
    manifest = _manifest(bundle)
    if as_json:
        print_json(manifest)
    else:
        print_table(f"Bundle {bundle}", ["entry", "value"], _flat(manifest))


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("inspect")(inspect)


def _manifest(bundle: Path) -> dict[str, Any]:
    path = bundle / _MANIFEST
    try:
        if path.stat().st_size > _MANIFEST_BYTES_MAX:
            raise BundleError(f"{path} is larger than {_MANIFEST_BYTES_MAX} bytes; this is no bundle")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{bundle} is no bundle: {error.strerror}: {path}") from error
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path} holds no JSON object")
    return manifest


def _flat(value: Any, name: str = "") -> list[tuple[str, object]]:  # noqa: ANN401 - any JSON value
    """Return the leaves of nested objects as dotted names; lists stay on one line."""
    if isinstance(value, dict):
        return [
            leaf for key, inner in value.items() for leaf in _flat(inner, f"{name}.{key}" if name else key)
        ]
    return [(name, json.dumps(value) if isinstance(value, list) else value)]
