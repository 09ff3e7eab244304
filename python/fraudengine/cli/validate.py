"""`fraudengine validate`: what a history holds, and which rows the engine would refuse and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from fraudengine.cli.console import notify, print_json, print_table
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.cli.history_options import HistoryArgument, with_history_options
from fraudengine.datasets import History, ReadOptions, read_history, write_history
from fraudengine.datasets.rejections import REJECTION_SCHEMA

if TYPE_CHECKING:
    from fraudengine.engine import Rejection

__all__ = ["register"]

_SHOWN_DEFAULT = 20


@with_history_options
def validate(
    path: HistoryArgument,
    rejected: Annotated[
        Path | None,
        typer.Option("--rejected", help="Write every refused value to this .parquet/.csv/.jsonl."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="How many refused values to show.")
    ] = _SHOWN_DEFAULT,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any row is refused.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Read a history the way train and replay do, and report counts and refused rows.

    [bold]Examples[/bold]

    fraudengine validate payments.csv --map merchant_id=shop --amount-unit major

    fraudengine validate card.parquet --preset handbook --json
    """
    history = read_history(path, reading)
    notify(history.notices)
    refused = pl.concat([history.rejected, _refused_by_engine(history)]).sort("row", maintain_order=True)
    if rejected is not None:
        write_history(refused, rejected)
    summary = _summary(history, refused)
    if as_json:
        print_json({**summary, "rejections": refused.head(limit).to_dicts()})
    else:
        _print(summary, refused, limit)
    if summary["rows_accepted"] == 0 or (strict and refused.height):
        raise typer.Exit(ExitCode.FAILED)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("validate")(validate)


def _summary(history: History, refused: pl.DataFrame) -> dict[str, Any]:
    frame = history.frame
    rejected = refused["row"].n_unique() if refused.height else 0
    fraud = frame["is_fraud"]
    return {
        "rows_read": history.rows_read,
        "rows_accepted": history.rows_read - rejected,
        "rows_rejected": rejected,
        "rejections_by_reason": _by_reason(refused),
        "repeated_ids": frame.height - frame["transaction_id"].n_unique(),
        "first_event_time": _iso(frame["event_time"].min()),
        "last_event_time": _iso(frame["event_time"].max()),
        "customers": frame["customer_id"].n_unique(),
        "merchants": frame["merchant_id"].drop_nulls().n_unique(),
        "labelled": fraud.count(),
        "frauds": int(fraud.sum()),
        "columns": {name: int(frame[name].count()) for name in frame.columns if frame[name].count()},
    }


def _by_reason(refused: pl.DataFrame) -> list[dict[str, Any]]:
    counted = refused.group_by("field", "reason").len("values")
    return counted.sort("values", "field", "reason", descending=[True, False, False]).to_dicts()


def _iso(time: object) -> str | None:
    return time.isoformat() if hasattr(time, "isoformat") else None


def _print(summary: dict[str, Any], refused: pl.DataFrame, limit: int) -> None:
    plain = {name: value for name, value in summary.items() if not isinstance(value, dict | list)}
    print_table(
        "History", ["what", "value"], [(name.replace("_", " "), value) for name, value in plain.items()]
    )
    print_table("Values present", ["column", "rows"], list(summary["columns"].items()))
    if refused.height and limit:
        reasons = [tuple(reason.values()) for reason in summary["rejections_by_reason"]]
        print_table("Refused, by reason", ["field", "reason", "values"], reasons[:limit])
        print_table(
            f"Refused, first {min(limit, refused.height)}", refused.columns, refused.head(limit).rows()
        )


def _shown(frame: pl.DataFrame, refused: Rejection) -> str | None:
    """Return the value at fault, control characters escaped; never a card's: it may be a real number."""
    if refused.field not in frame.columns or refused.field == "card_id":
        return None
    value = frame[refused.field][refused.row]
    return None if value is None else str(value).encode("unicode_escape").decode()


def _refused_by_engine(history: History) -> pl.DataFrame:
    """Check every value against the limits of the schema, where they are enforced: in native code."""
    from fraudengine.engine import Engine

    found = Engine().process(history.frame).rejected
    numbers = history.row_numbers.gather([one.row for one in found]).to_list()
    lines = [
        (number, one.field, _shown(history.frame, one), one.message)
        for number, one in zip(numbers, found, strict=True)
    ]
    return pl.DataFrame(lines, schema=REJECTION_SCHEMA, orient="row")
