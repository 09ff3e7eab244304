"""`fraudengine train`: from a labelled history to a bundle."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, progress
from fraudengine.cli.history_options import HistoryArgument, load_history, with_history_options
from fraudengine.cli.inspect import print_bundle
from fraudengine.cli.values import duration, moment
from fraudengine.datasets import ReadOptions
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from fraudengine.training.thresholds import Costs

__all__ = ["register"]


@with_history_options
def train(
    path: HistoryArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder of the new bundle.")],
    train_until: Annotated[
        str | None,
        typer.Option(
            "--train-until",
            metavar="TIME",
            help="Use only what was known then. Default: a week before the end.",
        ),
    ] = None,
    train_span: Annotated[
        str,
        typer.Option("--train-span", metavar="DURATION", help="Longest stretch of payments to learn from."),
    ] = "60d",
    review_fpr: Annotated[
        float, typer.Option("--review-fpr", min=0, max=1, help="Share of genuine payments to flag at all.")
    ] = 0.021,
    block_fpr: Annotated[
        float, typer.Option("--block-fpr", min=0, max=1, help="Share of genuine payments to block.")
    ] = 0.001,
    costs: Annotated[
        str | None,
        typer.Option(
            "--costs",
            metavar="REVIEW,FRICTION",
            help="Choose thresholds by cost instead: minor units of one review, and of one genuine payment "
            "blocked; a fraud let through costs its amount.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same history and seed: same bundle.")] = 7,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="Threads to train with.")] = 2,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the bundle that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Train on a labelled history, respecting when each label became known, and write a bundle.

    [bold]Examples[/bold]

    fraudengine train payments.parquet --label-delay 7d --out model

    fraudengine train card.parquet --preset handbook --label-delay 7d --train-until 2018-08-01 --out model
    """
    from fraudengine.training import TrainOptions
    from fraudengine.training import train as train_bundle

    micros = reading.label_delay_micros
    options = TrainOptions(
        label_delay=None if micros is None else dt.timedelta(microseconds=micros),
        train_until=None if train_until is None else moment(train_until),
        train_span=duration(train_span),
        review_fpr=review_fpr,
        block_fpr=block_fpr,
        costs=None if costs is None else _costs(costs),
        seed=seed,
        threads=threads,
    )
    history = load_history(path, reading)
    with progress(shown=not as_json) as report:
        train_bundle(history.in_time_order(), options, out=out, progress=report, replace=replace)
    print_bundle(out, as_json=as_json)
    notify([f"bundle in {out}; next: fraudengine compile {out}"])


def _costs(text: str) -> Costs:
    """Return the costs of `REVIEW,FRICTION`."""
    from fraudengine.training.thresholds import Costs

    parts = text.split(",")
    try:
        review, friction = (float(part) for part in parts)
    except ValueError as error:
        raise ConfigError(f"--costs is {text!r}, write two amounts in minor units: 300,2000") from error
    return Costs(review_minor=review, friction_minor=friction)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train")(train)
