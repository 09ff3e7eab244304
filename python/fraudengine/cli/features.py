"""`fraudengine features`: the feature catalogue, or the features of a history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from fraudengine.cli.console import notify, print_json, print_table
from fraudengine.cli.history_options import load_history, with_history_options
from fraudengine.datasets import ReadOptions, write_history
from fraudengine.errors import ConfigError

__all__ = ["register"]


@with_history_options
def features(
    history: Annotated[
        Path | None, typer.Argument(metavar="[HISTORY]", help="Compute the features of this history.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the features go: .parquet, .csv or .jsonl.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="Native threads.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Print the feature catalogue; with a history, compute its features with the engine's native code.

    [bold]Examples[/bold]

    fraudengine features

    fraudengine features payments.parquet --label-delay 7d --out features.parquet
    """
    from fraudengine.features import catalogue

    if history is not None:
        if out is None:
            raise ConfigError("say where the features go with --out")
        _compute(history, out, threads, reading)
    elif out is not None:
        raise ConfigError("--out needs a history to compute the features of")
    elif as_json:
        print_json(catalogue().to_dicts())
    else:
        table = catalogue()
        print_table(f"{table.height} features", table.columns, table.rows())


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("features")(features)


def _compute(path: Path, out: Path, threads: int, reading: ReadOptions) -> None:
    from fraudengine.features import build

    # The engine folds in the order of arrival; a file may have any.
    frame = load_history(path, reading).in_time_order()
    matrix = build(frame, threads=threads)
    table = pl.from_numpy(matrix.values, schema=matrix.names).with_columns(frame["transaction_id"])
    write_history(table.select("transaction_id", *matrix.names), out)
    notify([f"{frame.height:,} rows of {len(matrix.names)} features in {out}"])
    if matrix.rejected:
        first = matrix.rejected[0].message
        notify(
            [f"{len(matrix.rejected):,} of them break the schema and have no features, the first: {first}"]
        )
