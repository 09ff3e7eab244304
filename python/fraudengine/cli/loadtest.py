"""`fraudengine loadtest`: load on a running scoring service, and how it answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fraudengine.cli.console import notify, print_json, print_table
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.cli.scoring_options import (
    AddressOption,
    CaOption,
    CertificateOption,
    KeyOption,
    NameOption,
    TlsOption,
    TokenOption,
    address_of,
    tls_of,
    token_of,
)
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.errors import ConfigError, InputError

if TYPE_CHECKING:
    from fraudengine.loadtest import Summary

__all__ = ["register"]

_BUSY_MAX = 0.9


def loadtest(
    requests: Annotated[int, typer.Option(help="Closed loop: calls in all.")] = 10_000,
    concurrency: Annotated[int, typer.Option(help="Closed loop: calls under way at any time.")] = 200,
    rate: Annotated[float | None, typer.Option(help="Open loop: calls begun in a second.")] = None,
    seconds: Annotated[float, typer.Option(help="Open loop: for how long.")] = 10.0,
    batch: Annotated[int, typer.Option(help="Transactions of a call (ScoreBatch); 0: Score, one each.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the synthetic transactions.")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="Threads that send; half of the processors, at most 4.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Deadline of a call, seconds.")] = 10.0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON here too.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw latency by percentile: a .svg.")] = None,
    address: AddressOption = None,
    token: TokenOption = None,
    tls: TlsOption = False,
    tls_ca: CaOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_name: NameOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Send synthetic transactions to a scoring service and tell how it answered.

    A closed loop keeps calls under way; an open loop (--rate) begins them on time and measures from the time
    at which a call should have been sent. The transactions become part of the service's state. Ends with 1
    when no call was answered.

    [bold]Examples[/bold]

    fraudengine loadtest --requests 10000 --concurrency 200

    fraudengine loadtest --rate 1000 --seconds 30 --plot latency.svg

    fraudengine loadtest --requests 2000 --concurrency 4 --batch 256 --json
    """
    from fraudengine.client.connection import Connection
    from fraudengine.loadtest import Plan, run

    if plot is not None and plot.suffix != ".svg":
        raise ConfigError(f"--plot {plot} must end in .svg")
    connection = Connection(
        address=address_of(address, load_settings(config, assignments)),
        token=token_of(token),
        tls=tls_of(asked=tls, ca=tls_ca, certificate=tls_certificate, key=tls_key, name=tls_name),
        timeout_seconds=timeout,
        retries=0,
    )
    calls = requests if rate is None else max(1, round(rate * seconds))
    own = {} if threads is None else {"threads": threads}
    plan = Plan(
        connection=connection,
        calls=calls,
        concurrency=concurrency,
        rate=rate,
        batch=batch,
        seed=seed,
        **own,
    )
    summary = run(plan)
    told = summary.as_dict()
    if out is not None:
        _write(out, json.dumps(told, indent=2) + "\n")
    if plot is not None:
        from fraudengine.loadtest.plot import percentile_plot

        _write(plot, percentile_plot(summary))
    if as_json:
        print_json(told)
    else:
        _print(summary, told)
    notify(_notices(summary, told))
    if not told["statuses"].get("OK"):
        raise typer.Exit(ExitCode.FAILED)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("loadtest")(loadtest)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _print(summary: Summary, told: dict[str, Any]) -> None:
    latency = told["latency_ms"]
    print_table("Latency, ms", list(latency), [list(latency.values())])
    statuses = ", ".join(f"{name} {count:,}" for name, count in told["statuses"].items())
    decided = ", ".join(f"{name} {count:,}" for name, count in told["decided"].items())
    share = told["degraded_share"]
    rows = [
        ("calls", statuses),
        ("seconds", f"{told['seconds']:,.2f}"),
        ("calls a second", f"{told['calls_per_second']:,.0f}"),
        ("transactions decided a second", f"{told['transactions_per_second']:,.0f}"),
        ("decided", decided),
        ("refused / repeated", f"{told['refused']:,} / {told['repeated']:,}"),
        ("degraded", "nothing decided" if share is None else f"{told['degraded']:,} ({share:.2%})"),
    ]
    if len(summary.rejections_ns):
        ended = told["rejection_ms"]
        rows.append(("not answered, ended after p50 / p99, ms", f"{ended['p50']:.3g} / {ended['p99']:.3g}"))
    if told["loop"] == "open":
        delays = told["send_delay_ms"]
        rows.append(("sent late by p50 / p99, ms", f"{delays['p50']:.3g} / {delays['p99']:.3g}"))
    print_table(f"{told['loop'].capitalize()} loop against {told['address']}", ["what", "value"], rows)


def _notices(summary: Summary, told: dict[str, Any]) -> list[str]:
    """Say when the sender, and not the service, sets the figures."""
    if summary.sender_busy > _BUSY_MAX:
        return [f"a sending thread was busy {summary.sender_busy:.0%} of the time: try more --threads"]
    if summary.plan.rate is None:
        return []
    late = told["send_delay_ms"]["p99"]
    if late > max(5.0, 0.25 * (told["latency_ms"]["p99"] or 0.0)):
        return [f"calls were sent {late:g} ms late (p99): the sender may be the limit; try more --threads"]
    return []
