"""`fraudengine replay`: every payment of a history decided in time order, as it would have been live."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final, TypedDict

import typer

from fraudengine.cli.console import notify, print_json, print_table, progress
from fraudengine.cli.history_options import (
    HistoriesArgument,
    load_history,
    tell_refused,
    with_history_options,
)
from fraudengine.cli.inspect import BundleArgument
from fraudengine.cli.values import moment
from fraudengine.datasets import ReadOptions
from fraudengine.datasets.batches import history_files

__all__ = ["register"]

_DELAY_DEFAULT: Final = dt.timedelta(days=7)
_IN_MEMORY_BYTES_MAX: Final = 256 << 20


@with_history_options
def replay(
    bundle: BundleArgument,
    path: HistoriesArgument,
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
    in_memory: Annotated[
        bool | None,
        typer.Option(
            "--in-memory/--streamed",
            help="Read all and sort it, or batch by batch in bounded memory. "
            "Default: by size (256 MB) and number of files.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Decide every payment of a history in time order; labels arrive only when they are due.

    The delay of labels is `--label-delay`, 7d unless given or written in the history. A history that is
    larger than 256 MB, a folder or a pattern of files is read batch by batch, whatever its size: its rows
    must be in order of event time, but for two hours.

    [bold]Examples[/bold]

    fraudengine replay model payments.parquet --label-delay 7d --out decisions.parquet

    fraudengine replay model payments/ --out decisions.parquet

    fraudengine replay model payments.parquet --label-delay 7d --backend compiled --out check.parquet
    """
    micros = reading.label_delay_micros
    delay = _DELAY_DEFAULT if micros is None else dt.timedelta(microseconds=micros)
    first = None if start is None else moment(start)
    how: _How = {"label_delay": delay, "start": first, "features": features, "threads": threads}
    how["backend"] = backend
    files = history_files(path)
    if in_memory is None:
        in_memory = len(files) == 1 and files[0].is_file() and files[0].stat().st_size <= _IN_MEMORY_BYTES_MAX
    summary = (_at_once if in_memory else _streamed)(bundle, path, out, reading, how, shown=not as_json)
    if as_json:
        print_json({**summary, "out": str(out)})
    else:
        print_table("Decisions", ["what", "transactions"], list(summary.items()))
    notify([f"decisions in {out}; next: fraudengine evaluate {out} {path}"])


class _How(TypedDict, total=False):
    """What both ways of a replay are told."""

    label_delay: dt.timedelta
    start: dt.datetime | None
    features: bool
    threads: int
    backend: str


def _at_once(
    bundle: Path, path: Path, out: Path, reading: ReadOptions, how: _How, *, shown: bool
) -> dict[str, int]:
    """Read everything, sort it, decide it."""
    # Imported here: the help and a wrong option should not wait for the model libraries.
    from fraudengine.replay import replay as replay_history

    history = load_history(path, reading)
    with progress(shown=shown) as report:
        result = replay_history(bundle, history, out=out, progress=report, **how)
    _tell_of(result.rejected)
    # Refused by the reader (already said) and, for limits of the schema, by the engine.
    refused = history.rows_rejected + result.rejected
    counted = {"decisions": result.decisions.height, **result.actions}
    return {**counted, "repeated": result.repeated, "rejected": refused}


def _streamed(
    bundle: Path, path: Path, out: Path, reading: ReadOptions, how: _How, *, shown: bool
) -> dict[str, int]:
    """Read, decide and write batch by batch."""
    from fraudengine.datasets.batches import HistoryBatches
    from fraudengine.replay_stream import replay_stream

    history = HistoryBatches(path, reading)
    with progress(shown=shown) as report:
        counts = replay_stream(bundle, history, out, progress=report, **how)
    notify(list(history.notices))
    tell_refused(history.rows_rejected, history.rows_read)
    _tell_of(counts.rejected)
    actions = {name: counts.actions[name] for name in ("approve", "review", "block") if counts.actions[name]}
    refused = history.rows_rejected + counts.rejected
    return {"decisions": counts.decisions, **actions, "repeated": counts.repeated, "rejected": refused}


def _tell_of(rejected: int) -> None:
    if rejected:
        notify([f"{rejected:,} rows broke a limit; `fraudengine validate` lists them"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("replay")(replay)
