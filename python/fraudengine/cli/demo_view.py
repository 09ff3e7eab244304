"""A live demonstration while it runs: a table that changes in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fraudengine.cli.console import Report, errors, notify, progress
from fraudengine.demo.watching import Stage

if TYPE_CHECKING:
    from fraudengine.demo import Figures, Outcome, SteadyFigures

__all__ = ["DemoView", "line", "money", "rows"]

_LINE_SECONDS = 5.0
_WIDTH = 78
_SAYS = {
    Stage.WARMING: "Filling the windows with the days before",
    Stage.LIVE: "Deciding days that the model has never seen",
    Stage.SETTLING: "All is sent; the stores write the last rows",
}


class DemoView:
    """Shows one demonstration on standard error; a context manager that leaves the terminal in order.

    Parameters
    ----------
    quiet
        Show nothing.

    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = ExitStack()
        self._report: Report | None = None
        self._screen: Callable[[Figures], None] | None = None
        self._steady: Live | None = None

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how far the making of the model is."""
        if self._report is None:
            self._report = self._shown.enter_context(progress(shown=not self._quiet))
        self._report(stage, done, total)

    def tell(self, text: str) -> None:
        """Show a line; what was live before stays as it stands."""
        self._shown.close()
        self._report = self._screen = self._steady = None
        if not self._quiet:
            notify([text])

    def watch(self, figures: Figures) -> None:
        """Show where the live part stands."""
        if self._screen is None:
            self._screen = self._opened()
        self._screen(figures)

    def watch_steady(self, figures: SteadyFigures) -> None:
        """Show how traffic goes on; outside a terminal nothing, it may go on for days."""
        if self._quiet or not errors().is_terminal:
            return
        if self._steady is None:
            self._steady = self._shown.enter_context(Live(console=errors(), auto_refresh=False))
        parts = [
            f"{figures.sent:,} sent since",
            f"{figures.per_second:,.0f}/s decided",
            f"{figures.waiting:,} waiting",
            f"{figures.messages:,} messages in the inbox",
            "Ctrl-C stops everything",
        ]
        self._steady.update(Text("   ".join(parts), overflow="ellipsis"), refresh=True)

    def _opened(self) -> Callable[[Figures], None]:
        if self._quiet:
            return lambda _figures: None
        if not errors().is_terminal:
            return _Lines()
        live = self._shown.enter_context(Live(console=errors(), auto_refresh=False))
        return lambda figures: live.update(_table(figures), refresh=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal in order."""
        self._shown.close()


def money(minor: int, currency: str = "EUR") -> str:
    """Return an amount as people read it."""
    return f"{minor // 100:,}.{minor % 100:02} {currency}"


class _Lines:
    """Prints a line when a stage begins or ends, and every few seconds between."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._stage: Stage | None = None

    def __call__(self, figures: Figures) -> None:
        now = time.monotonic()
        whole = figures.sent == figures.to_send and not figures.waiting
        if figures.stage is self._stage and now - self._last < _LINE_SECONDS and not whole:
            return
        if whole and figures.stage is self._stage and now - self._last < 1:
            return
        self._last, self._stage = now, figures.stage
        errors().print(line(figures), markup=False)


def line(figures: Figures) -> str:
    """Return the figures as one line."""
    parts = [
        f"{figures.stage:<8} day {figures.day}/{figures.days}",
        f"{figures.sent:,}/{figures.to_send:,} sent",
        f"{figures.per_second:,.0f}/s",
        f"{figures.waiting:,} waiting",
    ]
    if figures.stage is not Stage.WARMING:
        parts.append(f"p50/p95/p99 {_latency(figures)}")
        parts.append(f"fraud caught {_caught(figures.outcome)}")
        parts.append(f"honest disturbed {_disturbed(figures.outcome)}")
        parts.append(f"stopped {money(figures.outcome.stopped_minor)}")
    parts.append(f"postgres {figures.postgres_rows:,} rows, {figures.postgres_behind:,} behind")
    parts.append(f"redis {figures.redis_behind:,} behind")
    if figures.dead_letters:
        parts.append(f"{figures.dead_letters:,} dead letters")
    return "  ".join(parts)


def rows(figures: Figures) -> list[tuple[str, str]]:
    """Return the lines of the table: what each figure is, and its value."""
    approved, reviewed, blocked = figures.actions
    so_far = figures.outcome
    decisions = [
        ("sent", f"{figures.sent:,} of {figures.to_send:,}   day {figures.day} of {figures.days}"),
        ("decisions", f"{sum(figures.actions):,}   {figures.per_second:,.0f} a second"),
        ("waiting to be decided", f"{figures.waiting:,}"),
    ]
    live = [
        ("latency p50 / p95 / p99, at most", _latency(figures)),
        ("approve / review / block", f"{approved:,} / {reviewed:,} / {blocked:,}"),
        ("fraud caught", f"{_caught(so_far)}   {so_far.frauds - so_far.caught:,} missed"),
        ("honest payments disturbed", _disturbed(so_far)),
        ("money stopped", f"{money(so_far.stopped_minor)} of {money(so_far.at_stake_minor)}"),
    ]
    stores = [
        ("PostgreSQL", f"{figures.postgres_rows:,} rows   {figures.postgres_behind:,} behind"),
        ("Redis", f"{figures.redis_rows:,} counted   {figures.redis_behind:,} behind"),
        ("labels taken in", f"{figures.labels:,}"),
        ("dead letters", f"{figures.dead_letters:,}"),
    ]
    return [*decisions, *(live if figures.stage is not Stage.WARMING else ()), *stores]


def _table(figures: Figures) -> Group:
    table = Table(show_header=False, width=_WIDTH)
    table.add_column(ratio=2)
    table.add_column(ratio=3)
    for name, value in rows(figures):
        table.add_row(name, value)
    bar = ProgressBar(total=max(1, figures.to_send), completed=figures.sent, width=_WIDTH)
    return Group(Text(_SAYS[figures.stage], style="bold"), bar, table, Text("Ctrl-C stops everything"))


def _latency(figures: Figures) -> str:
    if figures.latency_millis is None:
        return "none yet"
    bounds = ["over 1,000" if math.isinf(each) else f"{each:g}" for each in figures.latency_millis]
    return " / ".join(bounds) + " ms"


def _caught(so_far: Outcome) -> str:
    share = f" = {so_far.detection_rate:.1%}" if so_far.frauds else ""
    return f"{so_far.caught:,} of {so_far.frauds:,}{share}"


def _disturbed(so_far: Outcome) -> str:
    genuine = so_far.transactions - so_far.frauds
    share = f" = {so_far.false_positive_rate:.2%}" if genuine else ""
    return f"{so_far.disturbed:,}{share}"
