"""`fraudengine evaluate`: detection figures of a decisions file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from fraudengine.cli.console import figure, print_json, print_table
from fraudengine.cli.history_options import HistoryArgument, load_history, with_history_options
from fraudengine.cli.values import moment
from fraudengine.datasets import ReadOptions
from fraudengine.errors import ConfigError, InputError

__all__ = ["register"]


@with_history_options
def evaluate(
    decisions: Annotated[
        Path, typer.Argument(metavar="DECISIONS", help="File made by `fraudengine replay`.")
    ],
    path: HistoryArgument,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="all|handbook", help="Which payments count.")
    ] = "all",
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment that counts.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="First moment that no longer counts.")
    ] = None,
    fpr: Annotated[
        float, typer.Option("--fpr", min=0, max=1, help="False positive rate at which recall is read.")
    ] = 0.021,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Compare decisions with the verdicts of their history: ranking, recall, alerts and money caught.

    [bold]Examples[/bold]

    fraudengine evaluate decisions.parquet payments.parquet --from 2018-08-08 --to 2018-08-15

    fraudengine evaluate decisions.parquet card.parquet --preset handbook --protocol handbook --json
    """
    from fraudengine.training.evaluate import Protocol
    from fraudengine.training.evaluate import evaluate as figures_of

    if protocol not in {each.value for each in Protocol}:
        raise ConfigError(
            f"no protocol {protocol!r}; choose one of {', '.join(each.value for each in Protocol)}"
        )
    history = load_history(path, reading)
    figures = figures_of(
        _decisions(decisions),
        history.frame,
        protocol=Protocol(protocol),
        start=None if start is None else moment(start),
        end=None if end is None else moment(end),
        fpr=fpr,
    )
    if as_json:
        print_json(figures)
    else:
        _print(figures)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(evaluate)


def _decisions(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read as decisions: {str(error).partition(chr(10))[0]}") from error


def _print(figures: dict[str, Any]) -> None:
    actions = figures.get("actions") or {}
    rows = [
        (name.replace("_", " "), figure(value))
        for name, value in figures.items()
        if not isinstance(value, list) and name != "actions"
    ]
    print_table("Detection, with 95% intervals", ["figure", "value"], rows)
    counts = [(name, count["frauds"], count["genuine"]) for name, count in actions.items()]
    print_table("What was decided", ["action", "frauds", "genuine"], counts)
    for name, value in figures.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print_table(name.capitalize(), list(value[0]), [tuple(row.values()) for row in value])
