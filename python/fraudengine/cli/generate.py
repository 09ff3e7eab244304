"""`fraudengine generate`: a synthetic, labelled history."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from fraudengine.cli.console import notify, print_json, progress
from fraudengine.cli.values import moment

__all__ = ["register"]


def generate(
    out: Annotated[Path, typer.Option("--out", help="File to write: .parquet, .csv or .jsonl.")],
    customers: Annotated[int, typer.Option(help="Customers.")] = 10_000,
    merchants: Annotated[int, typer.Option(help="Merchants.")] = 2_000,
    days: Annotated[int, typer.Option(help="Days.")] = 90,
    start: Annotated[str, typer.Option(metavar="DATE", help="First day.")] = "2025-01-01",
    daily_mean: Annotated[float, typer.Option(help="Mean payments a day of one customer.")] = 0.7,
    fraud_rate: Annotated[float, typer.Option(help="Share of fraud among all payments, 0 to 0.2.")] = 0.005,
    label_delay_hours: Annotated[float, typer.Option(help="Mean hours from a payment to its label.")] = 72.0,
    label_noise: Annotated[float, typer.Option(help="Share of wrong labels, 0 to 0.5.")] = 0.0,
    duplicate_rate: Annotated[
        float, typer.Option(help="Share of records that arrive twice, 0 to 0.5.")
    ] = 0.0,
    late_rate: Annotated[float, typer.Option(help="Share of records that arrive late, 0 to 0.5.")] = 0.0,
    jitter_seconds: Annotated[float, typer.Option(help="Largest random delay of every record.")] = 0.0,
    drift: Annotated[float, typer.Option(help="How much habits change to the end, 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Same settings and seed: same history.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for one per processor.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Generate a synthetic history with habits, eight kinds of fraud, and labels that come later.

    [bold]Examples[/bold]

    fraudengine generate --out history.parquet

    fraudengine generate --customers 100000 --days 120 --fraud-rate 0.01 --drift 0.5 --out history.parquet

    fraudengine generate --duplicate-rate 0.02 --late-rate 0.01 --jitter-seconds 5 --out dirty.jsonl
    """
    import polars as pl

    from fraudengine.datasets import write_history
    from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches

    config = SyntheticConfig(
        seed=seed,
        customers=customers,
        merchants=merchants,
        days=days,
        start=moment(start).astimezone(dt.UTC),
        daily_mean=daily_mean,
        fraud_rate=fraud_rate,
        label_delay_hours=label_delay_hours,
        label_noise=label_noise,
        duplicate_rate=duplicate_rate,
        late_rate=late_rate,
        jitter_seconds=jitter_seconds,
        drift=drift,
    )
    batches = []
    with progress(shown=not as_json) as report:
        for day, batch in enumerate(generate_batches(config, threads=threads), start=1):
            batches.append(batch)
            report("generating days", day, days)
    history = pl.concat(batches)
    write_history(history, out)
    frauds = int(history["is_fraud"].sum())
    if as_json:
        print_json({"out": str(out), "transactions": history.height, "frauds": frauds})
    notify([f"{history.height:,} transactions, {frauds:,} labelled fraud, in {out}"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("generate")(generate)
