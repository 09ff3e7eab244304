"""`fraudengine replay`: every payment of a history decided in time order, as it would have been live."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final

import typer

from fraudengine.cli.console import notify, print_json, print_table, progress
from fraudengine.cli.history_options import HistoryArgument, load_history, with_history_options
from fraudengine.cli.inspect import BundleArgument
from fraudengine.cli.values import moment
from fraudengine.datasets import ReadOptions

__all__ = ["register"]

_DELAY_DEFAULT: Final = dt.timedelta(days=7)


@with_history_options
def replay(
    bundle: BundleArgument,
    path: HistoryArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the decisions go: .parquet.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Decide all, but write only decisions from this moment on."
        ),
    ] = None,
    features: Annotated[bool, typer.Option("--features", help="Write the feature values too.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="Native threads.")] = 1,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Scorer: auto (fastest exact one), avx512, avx2, portable, reference, or compiled: the "
            "library of `fraudengine compile`, checked by its hash.",
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Decide every payment of a history in time order; labels arrive only when they are due.

    The delay of labels is `--label-delay`, 7d unless given or written in the history.

    [bold]Examples[/bold]

    fraudengine replay model payments.parquet --label-delay 7d --out decisions.parquet

    fraudengine replay model payments.parquet --label-delay 7d --backend compiled --out check.parquet
    """
    micros = reading.label_delay_micros
    delay = _DELAY_DEFAULT if micros is None else dt.timedelta(microseconds=micros)
    first = None if start is None else moment(start)
    history = load_history(path, reading)
    # Imported here: the help and a wrong option should not wait for the model libraries.
    from fraudengine.replay import replay as replay_history

    with progress(shown=not as_json) as report:
        result = replay_history(
            bundle,
            history,
            out=out,
            label_delay=delay,
            start=first,
            features=features,
            threads=threads,
            backend=backend,
            progress=report,
        )
    summary = {"decisions": result.decisions.height, **result.actions, "repeated": result.repeated}
    # Refused by the reader (already said) and, for limits of the schema, by the engine.
    summary["rejected"] = history.rows_rejected + result.rejected
    if as_json:
        print_json({**summary, "out": str(out)})
    else:
        print_table("Decisions", ["what", "transactions"], list(summary.items()))
    if result.rejected:
        notify([f"{result.rejected:,} rows broke a limit; `fraudengine validate` lists them"])
    notify([f"decisions in {out}; next: fraudengine evaluate {out} {path}"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("replay")(replay)
