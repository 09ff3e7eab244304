"""`fraudengine generate`: a synthetic, labelled history, to a file or to Kafka."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json, progress
from fraudengine.cli.values import moment
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from fraudengine.datasets.synthetic import SyntheticConfig

__all__ = ["register"]

_KAFKA = "To Kafka"


class PayloadFormat(StrEnum):
    """How records are written to Kafka."""

    PROTOBUF = "protobuf"
    JSON = "json"


def generate(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write: .parquet, .csv or .jsonl; or give --broker.")
    ] = None,
    customers: Annotated[int, typer.Option(help="Customers.")] = 10_000,
    merchants: Annotated[int, typer.Option(help="Merchants.")] = 2_000,
    days: Annotated[int | None, typer.Option(help="Days; 90, or as many as a load to Kafka needs.")] = None,
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
    broker: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Send to this broker.", rich_help_panel=_KAFKA)
    ] = None,
    topic: Annotated[
        str, typer.Option(help="Topic of transactions.", rich_help_panel=_KAFKA)
    ] = "transactions",
    labels_topic: Annotated[
        str, typer.Option(help="Topic of labels; empty: none are sent.", rich_help_panel=_KAFKA)
    ] = "labels",
    genuine_labels: Annotated[
        bool,
        typer.Option(
            "--genuine-labels/--fraud-labels-only",
            help="Label genuine transactions too.",
            rich_help_panel=_KAFKA,
        ),
    ] = True,
    tps: Annotated[
        float, typer.Option(min=0.0, help="Transactions a second; 0: all speed.", rich_help_panel=_KAFKA)
    ] = 1_000.0,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Stop after so long; 0: never.", rich_help_panel=_KAFKA)
    ] = 0.0,
    count: Annotated[
        int, typer.Option(min=0, help="Stop after so many; 0: never.", rich_help_panel=_KAFKA)
    ] = 0,
    payload: Annotated[
        PayloadFormat, typer.Option("--format", help="How records are written.", rich_help_panel=_KAFKA)
    ] = PayloadFormat.PROTOBUF,
    schema_id: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Schema registry id before each.", rich_help_panel=_KAFKA),
    ] = None,
    skip_days: Annotated[
        int, typer.Option(min=0, help="First days that are not sent.", rich_help_panel=_KAFKA)
    ] = 0,
    warm_days: Annotated[
        int, typer.Option(min=0, help="Days sent at all speed before --tps.", rich_help_panel=_KAFKA)
    ] = 0,
    malformed: Annotated[
        float,
        typer.Option(min=0.0, help="Broken records for each good one; a test tool.", rich_help_panel=_KAFKA),
    ] = 0.0,
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="librdkafka property; repeatable.", rich_help_panel=_KAFKA),
    ] = None,
) -> None:
    """Generate a synthetic history with habits, eight kinds of fraud, and labels that come later.

    To a file (--out), or to Kafka (--broker): transactions keyed by customer, at a steady rate that does not
    wait for the broker, and each label when the history's clock passes the time at which it became known.

    [bold]Examples[/bold]

    fraudengine generate --out history.parquet

    fraudengine generate --customers 100000 --days 120 --fraud-rate 0.01 --drift 0.5 --out history.parquet

    fraudengine generate --duplicate-rate 0.02 --late-rate 0.01 --jitter-seconds 5 --out dirty.jsonl

    fraudengine generate --broker localhost:9092 --tps 5000 --seconds 60 --fraud-rate 0.01

    fraudengine generate --broker localhost:9092 --warm-days 86 --days 90 --tps 20000 --format json
    """
    from fraudengine.datasets.load import LoadTarget
    from fraudengine.datasets.synthetic import SyntheticConfig

    if (out is None) == (broker is None):
        raise ConfigError("give --out for a file or --broker for Kafka, one of the two")
    config = SyntheticConfig(
        seed=seed,
        customers=customers,
        merchants=merchants,
        days=days or 90,
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
    if out is not None:
        _to_file(config, out, threads=threads, as_json=as_json)
        return
    from fraudengine.cli import load_view

    target = LoadTarget(
        brokers=broker or "",
        topic=topic,
        labels_topic=labels_topic,
        genuine_labels=genuine_labels,
        payload_format=payload.value,
        schema_id=schema_id,
        tps=tps,
        skip_days=skip_days,
        warm_days=warm_days,
        count=count,
        seconds=seconds,
        malformed=malformed,
        client=load_view.properties(client),
    )
    load_view.send(config, target, days=days, as_json=as_json)


def _to_file(config: SyntheticConfig, out: Path, *, threads: int, as_json: bool) -> None:
    from fraudengine.datasets.synthetic import generate_batches
    from fraudengine.frame_files import write_frames

    frauds = 0

    def days() -> Iterator[pl.DataFrame]:
        nonlocal frauds
        for day, batch in enumerate(generate_batches(config, threads=threads), start=1):
            frauds += int(batch["is_fraud"].sum())
            report("generating days", day, config.days)
            yield batch

    with progress(shown=not as_json) as report:
        # A day at a time: a history may be larger than memory.
        transactions = write_frames(days(), out)
    if as_json:
        print_json({"out": str(out), "transactions": transactions, "frauds": frauds})
    notify([f"{transactions:,} transactions, {frauds:,} labelled fraud, in {out}"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("generate")(generate)
