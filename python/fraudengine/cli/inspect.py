"""`fraudengine inspect`: what a bundle says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fraudengine.cli.console import figure, print_json, print_table
from fraudengine.errors import BundleError

__all__ = ["BundleArgument", "print_bundle", "register"]

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder made by `fraudengine train`.")]
"""The positional argument of a command that uses a bundle."""

_MANIFEST = "manifest.json"
_MANIFEST_BYTES_MAX = 16 << 20
_WINDOWS = {
    "final": "learned from",
    "validation": "thresholds chosen on",
    "fit": "by a model that learned from",
    "test": "tested on",
}


def inspect(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as it is stored.")] = False,
) -> None:
    """Print what a bundle was trained on, how well it detects, where it decides, and the files it holds.

    `--json` prints the whole manifest: options, versions, feature names, metrics, hashes of all files.

    The files are not checked here; every command that uses the bundle checks them.

    [bold]Examples[/bold]

    fraudengine inspect model

    fraudengine inspect model --json | jq .content.metrics
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
        return
    content = manifest.get("content")
    if not isinstance(content, dict):
        raise BundleError(f"{bundle / _MANIFEST} has no content: this is no bundle of fraudengine")
    print_table(f"Bundle {bundle}", ["what", "value"], _summary(manifest, content))
    if content.get("metrics"):
        spans, rows = _detection(content["metrics"])
        print_table("Detection, with 95% intervals", ["figure", *spans], rows)
    print_table(
        "Files",
        ["name", "bytes", "sha256 begins"],
        [(name, file["bytes"], file["sha256"][:16]) for name, file in content.get("files", {}).items()],
    )


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


def _summary(manifest: dict[str, Any], content: dict[str, Any]) -> list[tuple[str, object]]:
    """Return what identifies a bundle and what it was made from, by name."""
    windows, policy = content.get("windows", {}), content.get("policy", {})
    rows: list[tuple[str, object]] = [
        ("hash", manifest.get("bundle_hash", "")),
        ("score stands on", content.get("stage", "")),
        ("features", len(content.get("feature_names", []))),
    ]
    rows += [
        (said, f"{windows[name]['transactions']:,} transactions, {_days(windows[name])}")
        for name, said in _WINDOWS.items()
        if windows.get(name)
    ]
    rows += [
        (name.replace("_", " "), f"score {policy[name]:.4g}")
        for name in ("review_from", "block_from")
        if name in policy
    ]
    return [*rows, ("seed", content.get("seed", ""))]


def _days(window: dict[str, Any]) -> str:
    return f"{window['first'][:10]} to {window['last'][:10]}"


def _detection(metrics: dict[str, Any]) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the measured spans, and of each figure its value in every span."""
    spans = {name.replace("_", " "): span for name, span in metrics.items() if isinstance(span, dict)}
    figures: dict[str, None] = {}
    for span in spans.values():
        figures |= dict.fromkeys(name for name in span if name != "actions")
    rows = [
        (name.replace("_", " "), *(figure(span.get(name)) for span in spans.values())) for name in figures
    ]
    return list(spans), rows
