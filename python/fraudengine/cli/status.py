"""`fraudengine status`: what a running stream is doing, once or live."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fraudengine.cli.console import errors, print_json, print_table
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.streaming.client import OperatorClient

__all__ = ["register", "rows"]


def status(
    url: Annotated[
        str | None, typer.Option("--url", help="Address of the stream; default: http.host and http.port.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Refresh every second until interrupted.")] = False,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
) -> None:
    """Print what a running stream is doing.

    [bold]Examples[/bold]

    fraudengine status

    fraudengine status --live
    """
    client = OperatorClient.of(load_settings(file, assignments), url)
    told = client.status()
    if as_json:
        print_json(told)
        return
    if not live:
        print_table(f"Stream at {client.url}", ["", ""], rows(told, None))
        return
    from rich.live import Live

    with Live(console=errors(), refresh_per_second=4) as screen:
        before: tuple[float, int] | None = None
        while True:
            now = (time.monotonic(), int(told["decisions"]))
            rate = None if before is None else (now[1] - before[1]) / (now[0] - before[0])
            screen.update(_table(client.url, rows(told, rate)))
            before = now
            time.sleep(1.0)
            told = client.status()


def rows(told: dict[str, Any], rate: float | None) -> list[tuple[str, str]]:
    """Return the lines of the table: what each figure is, and its value."""
    newest = told["watermark_micros"]
    latency = [told[f"latency_{name}_micros"] for name in ("p50", "p95", "p99")]
    lines = [
        ("phase", str(told["phase"]) + (f" ({told['error']})" if told["error"] else "")),
        ("model", f"{told['bundle']} ({told['model']})"),
        ("decisions", f"{told['decisions']:,}"),
        ("approve / review / block", f"{told['approve']:,} / {told['review']:,} / {told['block']:,}"),
        ("behind (records)", "not known yet" if told["lag"] is None else f"{told['lag']:,}"),
        ("latency p50 / p95 / p99, at most", " / ".join(_millis(each) for each in latency)),
        (
            "repeated / late / coarse windows",
            f"{told['duplicates']:,} / {told['late']:,} / {told['approximate']:,}",
        ),
        ("labels / waiting", f"{told['labels']:,} / {told['labels_pending']:,}"),
        ("dead letters", f"{told['dead_letters']:,}"),
        ("newest event", _moment(newest) if newest else "none yet"),
        ("snapshots", f"{told['snapshots']:,}"),
        ("taken in again at start", f"{told['recovered']:,} in {told['recovery_micros'] / 1e6:.1f} s"),
        ("runs begun again", f"{told['restarts']:,}"),
    ]
    for name, sink in told["sinks"].items():
        error = f" ({sink['error']})" if sink["error"] else ""
        lines.append((name, f"{sink['state']}, {sink['rows']:,} rows, {sink['lag']:,} behind{error}"))
    if told["standby_behind"] is not None:
        lines.append(("stands by, behind the log (records)", f"{told['standby_behind']:,}"))
    if rate is not None:
        lines.insert(3, ("per second", f"{rate:,.0f}"))
    return lines


def _millis(micros: int | None) -> str:
    return "over 1 s" if micros is None else f"{micros / 1_000:g} ms"


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(sep=" ", timespec="seconds")


def _table(url: str, lines: list[tuple[str, str]]) -> Any:  # noqa: ANN401 - rich is imported late
    from rich.table import Table

    table = Table(title=f"Stream at {url}", title_justify="left", show_header=False)
    for name, value in lines:
        table.add_row(name, value)
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("status")(status)
