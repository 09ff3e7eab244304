"""`fraudengine demo`: the whole job, from nothing to decisions, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import print_json, progress
from fraudengine.cli.signals import interruptible_once
from fraudengine.errors import StreamError

if TYPE_CHECKING:
    from fraudengine.demo import DemoOptions, LiveResult, Steady

__all__ = ["register"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo"),
    customers: Annotated[int, typer.Option(help="Customers of the synthetic history.")] = 10_000,
    days: Annotated[int, typer.Option(min=15, help="Days; the last 14 are decided, not trained on.")] = 100,
    fraud_rate: Annotated[float, typer.Option(help="Share of fraud, 0 to 0.2.")] = 0.005,
    seed: Annotated[int, typer.Option(min=0, help="Same seed: same history and bundle.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Native threads that decide.")] = 1,
    tps: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Transactions a second of the live part, 0: all speed; default: a minute of them."
        ),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide from the file, without Kafka, PostgreSQL and Redis.")
    ] = False,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay",
            help="Go on with traffic after the tables, until Ctrl-C; default: only in a terminal.",
        ),
    ] = None,
    dashboard_port: Annotated[
        int | None, typer.Option(help="0: a free one; default: 8501 if it is free.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="0: a free one; default: 50051 if it is free.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Generate a history, train on it, compile the ensemble, and decide the following days as they happen.

    Kafka, PostgreSQL and Redis run on this machine for as long as it takes, without containers; beside them
    the dashboard, the scoring service over gRPC, and alerts, whose messages go to a folder. The days that the
    model learned from go through as fast as possible, so that every window is full, the last 14 at a steady
    rate. Then come tables, and in a terminal traffic goes on until Ctrl-C. A second run replaces what the
    first has left in the folder.

    [bold]Examples[/bold]

    fraudengine demo

    fraudengine demo --customers 50000 --threads 2 --tps 5000 --out larger

    fraudengine demo --no-stay --json

    fraudengine demo --replay
    """
    from fraudengine.demo import DemoOptions

    options = DemoOptions(customers=customers, days=days, fraud_rate=fraud_rate, seed=seed, threads=threads)
    if replay:
        _replayed(out, options, as_json=as_json)
    else:
        goes_on = stay if stay is not None else sys.stdout.isatty() and not as_json
        _live(out, options, tps, (dashboard_port, grpc_port), goes_on=goes_on, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def _replayed(out: Path, options: DemoOptions, *, as_json: bool) -> None:
    from fraudengine.cli import demo_report
    from fraudengine.demo import run_replay

    with progress(shown=not as_json) as report:
        result = run_replay(out, options, progress=report)
    if as_json:
        print_json(demo_report.summary(result))
    else:
        demo_report.print_replayed(result)


def _live(
    out: Path,
    options: DemoOptions,
    tps: float | None,
    ports: tuple[int | None, int | None],
    *,
    goes_on: bool,
    as_json: bool,
) -> None:
    from fraudengine.cli import demo_report
    from fraudengine.cli.demo_view import DemoView
    from fraudengine.demo import run_live
    from fraudengine.demo.steady import TPS

    def told(result: LiveResult) -> None:
        if as_json:
            print_json(demo_report.summary(result))
        else:
            demo_report.print_live(result)
        if not result.counts.sound:
            raise StreamError(f"the counts do not agree: {result.counts}")

    def going_on(result: LiveResult, steady: Steady) -> None:
        told(result)
        demo_report.print_running(result)
        steady.run(view.watch_steady, tps=tps or TPS)

    with interruptible_once(), DemoView(quiet=as_json) as view:
        result = run_live(
            out,
            options,
            tps=tps,
            dashboard_port=ports[0],
            grpc_port=ports[1],
            stay=going_on if goes_on else None,
            progress=view.progress,
            tell=view.tell,
            watch=view.watch,
        )
    if not goes_on:
        told(result)
    if not as_json:
        demo_report.print_further(result)
