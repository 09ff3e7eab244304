"""A load to Kafka in the terminal: one live line, Ctrl-C to stop, the figures at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace

from rich.live import Live
from rich.text import Text

from fraudengine.cli.console import errors, notify, print_json
from fraudengine.cli.signals import terminated_like_interrupted
from fraudengine.datasets.load import LoadReport, LoadTarget, days_needed, start_load
from fraudengine.datasets.synthetic import SyntheticConfig
from fraudengine.errors import ConfigError, ServiceError

__all__ = ["properties", "send"]

_REFRESH_SECONDS = 0.25


def properties(assignments: Sequence[str] | None) -> dict[str, str]:
    """Return the client properties of `key=value` texts.

    Raises
    ------
    ConfigError
        A text has no `=`.
    """
    found = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--client {assignment} is not of the form KEY=VALUE")
        found[key.strip()] = value.strip()
    return found


def _line(report: LoadReport, tps: float) -> str:
    aim = f" of {tps:,.0f}" if tps else ""
    parts = [
        report.phase,
        f"day {report.day}",
        f"{report.transactions:,} transactions",
        f"{report.rate:,.0f}{aim}/s",
        f"{report.labels:,} labels",
        f"{report.acked:,} acknowledged",
    ]
    if report.malformed:
        parts.append(f"{report.malformed:,} malformed")
    if report.failed:
        parts.append(f"{report.failed:,} failed")
    if report.late_seconds > 0.05:
        parts.append(f"{report.late_seconds:.1f} s behind schedule")
    return "   ".join(parts)


def send(config: SyntheticConfig, target: LoadTarget, *, days: int | None, as_json: bool) -> None:
    """Send a history and show how it goes, until it is sent, Ctrl-C or SIGTERM; then flush and report.

    Parameters
    ----------
    days
        Days of the history; None: as many as the target's limits need.

    Raises
    ------
    ServiceError
        Records could not be delivered, or no broker answers.
    """
    config = replace(config, days=days or days_needed(config, target))
    load = start_load(config, target)
    live = Live(console=errors(), auto_refresh=False, transient=True)
    with terminated_like_interrupted(), nullcontext() if as_json else live:
        done = False
        while not done:
            try:
                done = load.wait(_REFRESH_SECONDS)
            except KeyboardInterrupt:
                load.stop()
            if not as_json:
                live.update(Text(_line(load.report(), target.tps), overflow="ellipsis"), refresh=True)
    report = load.report()
    if as_json:
        print_json(asdict(report))
    late = f", at most {1e3 * report.late_seconds_max:,.1f} ms behind schedule" if target.tps else ""
    notify([_line(report, target.tps) + late])
    if report.failed:
        raise ServiceError(f"{report.failed:,} records were not delivered: {report.error}")
