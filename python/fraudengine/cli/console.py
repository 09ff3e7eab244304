"""How commands speak: answers on standard output, everything else on standard error.

One place, so that `--json` output is never mixed with a notice and a table never with a progress bar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Report", "errors", "figure", "notify", "print_json", "print_table", "progress", "thousands"]


def errors() -> Console:
    """Return the console of standard error, made anew because tests replace the stream."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def notify(notices: Iterable[str]) -> None:
    """Print notices, one a line, on standard error."""
    for notice in notices:
        errors().print(f"note: {notice}", style="dim", markup=False)


def print_json(value: Mapping[str, object] | Sequence[object]) -> None:
    """Print one JSON document on standard output; values JSON lacks become texts, NaN is refused."""
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    body = [list(row) for row in rows]
    for index, name in enumerate(header):
        numeric = bool(body) and all(isinstance(row[index], int | float) for row in body)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*("" if cell is None else thousands(cell) for cell in row))
    Console(highlight=False, markup=False).print(table)


def thousands(value: object) -> str:
    """Return a value as people read it: integers with separators, floats with four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def figure(value: object) -> object:
    """Return a figure as people read it: an interval as `value (low to high)`, others as they are."""
    if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
        return f"{value['value']:.4g} ({value['low']:.4g} to {value['high']:.4g})"
    return value


class Report(Protocol):
    """What long jobs call to say how far they are; the same shape as `fraudengine.training.Progress`."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of a stage are done."""


@contextmanager
def progress(*, shown: bool) -> Iterator[Report]:
    """Show progress bars on standard error while the block runs.

    Yields
    ------
    Report
        `report(stage, done, total)`: one bar a stage, created when it is first named.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors(), disable=not shown) as bars:
        stages: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield report
