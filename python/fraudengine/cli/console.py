"""How commands speak: answers on standard output, everything else on standard error.

One place, so that `--json` output is never mixed with a notice and a table never with a progress bar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Report", "errors", "figure", "notify", "print_json", "print_table", "progress", "thousands"]

# Columns are not folded below this, so that words stay legible; with less room each row is a list instead.
_COLUMN_WIDTH_LEAST = 12
# Wider than any table: rich measures no further than the width it is given.
_WIDTH_MAX = 1_000_000


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
    """Print a table on standard output; numbers are aligned to the right.

    In a file or a pipe a row is one line, as wide as its content, so that `grep` finds what it looks for. On
    a terminal cells are folded to its width, all but those of the first column: they are names, to be copied
    whole. A terminal too narrow for that gets a list: one line for each cell, rows apart.
    """
    body = [list(row) for row in rows]
    shown = [["" if cell is None else thousands(cell) for cell in row] for row in body]
    console = Console(highlight=False, markup=False)
    # Asked of the stream: where colours are forced (FORCE_COLOR) the console takes a pipe for a terminal.
    folded = console.file.isatty()
    if not folded:
        shown = [[" ".join(text.splitlines()) for text in row] for row in shown]
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        numeric = bool(body) and all(isinstance(row[index], int | float) for row in body)
        whole = max(cell_len(line) for row in [header, *shown] for line in row[index].splitlines() or [""])
        least = min(whole, _COLUMN_WIDTH_LEAST) if folded and index else whole
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(name, justify=justify, overflow="fold", min_width=least, no_wrap=least == whole)
    for row in shown:
        table.add_row(*row)
    width = Measurement.get(console, console.options.update(max_width=_WIDTH_MAX), table).minimum
    if not folded:
        console.width = width
    elif width > console.width:
        table = _list_of(title, header, shown)
    console.print(table, crop=False)


def _list_of(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return what a table says with a line for each cell, for terminals that have no room for its columns."""
    told = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
    told.add_column(no_wrap=True)
    told.add_column(overflow="fold")
    for row in rows:
        for index, (name, text) in enumerate(zip(header, row, strict=True)):
            told.add_row(name, text, style=None if index else "bold")
        told.add_row()
    return told


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
