"""The options that say how to read a history: one definition for every command that takes one.

`with_history_options` gives a command these options on top of its own and hands it a `ReadOptions` in
their place, as the keyword `reading`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from fraudengine.cli.console import notify
from fraudengine.datasets import PRESETS, History, HistoryFormat, ReadOptions, TimeUnit, read_history
from fraudengine.datasets.durations import parse_micros
from fraudengine.datasets.mapping import parse_mapping

__all__ = [
    "HistoriesArgument",
    "HistoryArgument",
    "load_history",
    "tell_refused",
    "with_history_options",
]

_PANEL: Final = "How to read the history"

HistoryArgument = Annotated[
    Path, typer.Argument(metavar="HISTORY", help="Transaction history: .parquet, .csv or .jsonl.")
]
"""The positional argument of a command that reads one history."""


HistoriesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="HISTORY",
        help="Transaction history: .parquet, .csv or .jsonl; a folder or a pattern of such.",
    ),
]
"""The same of a command that also reads one that is cut into several files."""


def _option(*names: str, help_text: str, **more: Any) -> Any:  # noqa: ANN401 - typer's own options are untyped
    return typer.Option(*names, help=help_text, rich_help_panel=_PANEL, **more)


def _collect(
    preset: Annotated[
        str | None, _option("--preset", help_text=f"A history known by name: {', '.join(sorted(PRESETS))}.")
    ] = None,
    history_format: Annotated[
        HistoryFormat | None, _option("--format", help_text="Storage format. Default: by the file's suffix.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        _option(
            "--map",
            metavar="COLUMN=SOURCE",
            help_text="Read a column of the schema from a source column, e.g. merchant_id=terminal_id; "
            "repeat as needed. The source @row numbers the records.",
        ),
    ] = None,
    amount_column: Annotated[
        str | None, _option("--amount-column", help_text="Source column of the amount.")
    ] = None,
    amount_unit: Annotated[
        str | None,
        _option("--amount-unit", metavar="major|minor", help_text="Unit of amounts: 12.34 or 1234."),
    ] = None,
    currency: Annotated[
        str | None,
        _option(
            "--currency", help_text="ISO 4217 code that says how many decimals amounts have. Default: two."
        ),
    ] = None,
    time_column: Annotated[
        str | None, _option("--time-column", help_text="Source column of the event time.")
    ] = None,
    time_unit: Annotated[
        TimeUnit | None, _option("--time-unit", help_text="Unit of numeric times, or iso. Default: detected.")
    ] = None,
    time_format: Annotated[
        str | None,
        _option("--time-format", help_text="Pattern of texts that are not ISO 8601: %d/%m/%Y %H:%M."),
    ] = None,
    time_zone: Annotated[
        str | None,
        _option("--time-zone", help_text="Zone of times without one, e.g. Europe/Paris. Default: UTC."),
    ] = None,
    label_column: Annotated[
        str | None, _option("--label-column", help_text="Source column of the verdict (1 fraud, 0 not).")
    ] = None,
    label_delay: Annotated[
        str | None,
        _option(
            "--label-delay",
            metavar="DURATION",
            help_text="How long after a payment its verdict is known: 7d.",
        ),
    ] = None,
) -> ReadOptions:
    """Turn the options into a `ReadOptions`; a preset comes first and everything else corrects it."""
    base = ReadOptions.preset(preset) if preset else ReadOptions()
    return base.updated(
        format=history_format,
        mapping=parse_mapping(mapping or ()),
        amount_column=amount_column,
        amount_unit=amount_unit,
        currency=currency,
        time_column=time_column,
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
        label_column=label_column,
        label_delay_micros=None if label_delay is None else parse_micros(label_delay),
    )


def with_history_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the reading options; it must take `reading: ReadOptions` as a keyword."""
    collected = inspect.signature(_collect).parameters
    own = [item for name, item in inspect.signature(command).parameters.items() if name != "reading"]

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:  # noqa: ANN401 - typer passes each option by keyword
        reading = _collect(**{name: values.pop(name) for name in collected})
        command(**values, reading=reading)

    # typer reads the signature and the hints to build the command: both are the union of the two functions.
    ordered = sorted(
        [*own, *collected.values()], key=lambda item: item.default is not inspect.Parameter.empty
    )
    keyword_only = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in ordered]
    hints = get_type_hints(command, include_extras=True) | get_type_hints(_collect, include_extras=True)
    hints = {name: hint for name, hint in hints.items() if name not in ("reading", "return")}
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # functions accept it at run time
        [item.replace(annotation=hints[item.name]) for item in keyword_only]
    )
    wrapper.__annotations__ = hints
    del wrapper.__wrapped__  # set by functools.wraps; typer would look through it
    return wrapper


def load_history(path: Path, reading: ReadOptions) -> History:
    """Read a history and say on standard error what was guessed and how many rows were refused."""
    history = read_history(path, reading)
    notify(history.notices)
    tell_refused(history.rows_rejected, history.rows_read)
    return history


def tell_refused(rejected: int, read: int) -> None:
    """Say on standard error how many rows were refused, if any were."""
    if rejected:
        refused = f"{rejected:,} of {read:,} rows were refused"
        notify([f"{refused}; `fraudengine validate` lists them"])
