"""The charts of the page Live, from minutes to Altair. Pure.

Actions have the same colour everywhere: blue, amber, vermilion, which people with any kind of colour vision
can tell apart, and which keep their contrast on light and dark grounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import polars as pl

from fraudengine.stores.summary import within

if TYPE_CHECKING:
    from fraudengine.stores import Minute

__all__ = [
    "ACTION_COLOURS",
    "POWERS",
    "Bin",
    "binned",
    "latency_chart",
    "money_chart",
    "rate_chart",
    "share_chart",
]

ACTION_COLOURS: Final = {"approve": "#2E86C8", "review": "#E69F00", "block": "#D1495B"}
"""Colour of each action."""
_PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_PERCENTILE_COLOURS: Final = ["#7FB7DE", "#2E86C8", "#E69F00"]
_HEIGHT: Final = 200
POWERS: Final = [10.0**power for power in range(-3, 9)]
"""Where a scale of powers is labelled."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bin:
    """Some minutes together.

    Attributes
    ----------
    began
        When the first one began.
    seconds
        How long they took; of the current minute what has passed.
    transactions, reviewed, blocked
        Decisions.
    stopped_minor
        Amounts blocked, by currency (`None`: the reference currency).
    latencies
        Decisions by the upper bound of their latency, microseconds.

    """

    began: datetime
    seconds: float
    transactions: int
    reviewed: int
    blocked: int
    stopped_minor: dict[str | None, int]
    latencies: dict[float, int]

    @property
    def rate(self) -> float:
        """Transactions in a second."""
        return self.transactions / self.seconds if self.seconds else 0.0


def binned(minutes: Sequence[Minute], size: int) -> list[Bin]:
    """Return minutes in groups of `size`, cut where the clock's hour is, oldest first.

    What is before the first decision is left out: nothing was counted then.
    """
    groups: dict[int, list[Minute]] = {}
    for minute in minutes:
        if groups or minute.counts.transactions:
            groups.setdefault(minute.began_micros // (size * 60_000_000), []).append(minute)
    return [_together(number * size, group) for number, group in groups.items()]


def rate_chart(bins: Sequence[Bin]) -> alt.Chart:
    """Return transactions a second over time."""
    data = pl.DataFrame({"time": [each.began for each in bins], "rate": [each.rate for each in bins]})
    made: alt.Chart = (
        _over_time(data)
        .mark_area(line={"color": ACTION_COLOURS["approve"]}, color=ACTION_COLOURS["approve"], opacity=0.25)
        .encode(
            y=alt.Y("rate:Q", title=None, axis=alt.Axis(format=",.0f", tickCount=4)),
            tooltip=[_time_tip(), alt.Tooltip("rate:Q", title="transactions/s", format=",.1f")],
        )
    )
    return made


def share_chart(bins: Sequence[Bin]) -> alt.Chart:
    """Return the shares that were sent to review and blocked, on top of one another."""
    rows = [
        {
            "time": each.began,
            "action": action,
            "share": part / each.transactions if each.transactions else None,
            "count": part,
        }
        for each in bins
        for action, part in (("review", each.reviewed), ("block", each.blocked))
    ]
    schema = pl.Schema(
        {"time": pl.Datetime("us", "UTC"), "action": pl.String(), "share": pl.Float64(), "count": pl.Int64()}
    )
    made: alt.Chart = (
        _over_time(pl.DataFrame(rows, schema=schema))
        .mark_area(opacity=0.85)
        .encode(
            y=alt.Y("share:Q", title=None, stack=True, axis=alt.Axis(format=".2~%", tickCount=4)),
            color=_legend("action", list(ACTION_COLOURS)[1:], list(ACTION_COLOURS.values())[1:]),
            tooltip=[
                _time_tip(),
                "action:N",
                alt.Tooltip("share:Q", format=".3%"),
                alt.Tooltip("count:Q", title="decisions", format=","),
            ],
        )
    )
    return made


def latency_chart(bins: Sequence[Bin]) -> alt.Chart:
    """Return percentiles of the latency over time, milliseconds, on a scale of powers."""
    rows = [
        {"time": each.began, "percentile": name, "ms": _millis(within(each.latencies, share))}
        for each in bins
        for name, share in _PERCENTILES.items()
    ]
    schema = pl.Schema({"time": pl.Datetime("us", "UTC"), "percentile": pl.String(), "ms": pl.Float64()})
    made: alt.Chart = (
        _over_time(pl.DataFrame(rows, schema=schema))
        .mark_line(strokeWidth=2)
        .encode(
            y=alt.Y(
                "ms:Q",
                title=None,
                scale=alt.Scale(type="log", nice=True),
                axis=alt.Axis(format="~g", values=POWERS),
            ),
            color=_legend("percentile", list(_PERCENTILES), _PERCENTILE_COLOURS),
            tooltip=[_time_tip(), "percentile:N", alt.Tooltip("ms:Q", title="at most, ms", format=",.2f")],
        )
    )
    return made


def money_chart(bins: Sequence[Bin], currency: str | None, minor_of_major: int) -> alt.Chart:
    """Return the money stopped in one currency over time, major units."""
    data = pl.DataFrame(
        {
            "time": [each.began for each in bins],
            "end": [each.began + timedelta(seconds=max(each.seconds, 1.0)) for each in bins],
            "stopped": [each.stopped_minor.get(currency, 0) / minor_of_major for each in bins],
        }
    )
    made: alt.Chart = (
        _over_time(data)
        .mark_bar(color=ACTION_COLOURS["block"], opacity=0.85)
        .encode(
            x2="end:T",
            y2=alt.datum(0),
            y=alt.Y("stopped:Q", title=None, axis=alt.Axis(format=",.4~s", tickCount=4)),
            tooltip=[_time_tip(), alt.Tooltip("stopped:Q", format=",.2f")],
        )
    )
    return made


def _together(minute: int, group: Sequence[Minute]) -> Bin:
    stopped: dict[str | None, int] = {}
    latencies: dict[float, int] = {}
    for each in group:
        for (action, currency), amount in each.counts.amounts.items():
            if action == "block":
                stopped[currency] = stopped.get(currency, 0) + amount
        for bound, number in each.latencies.items():
            latencies[bound] = latencies.get(bound, 0) + number
    return Bin(
        began=_EPOCH + timedelta(minutes=minute),
        seconds=sum(each.counts.seconds for each in group),
        transactions=sum(each.counts.transactions for each in group),
        reviewed=sum(each.counts.reviewed for each in group),
        blocked=sum(each.counts.blocked for each in group),
        stopped_minor=stopped,
        latencies=latencies,
    )


def _millis(micros: float | None) -> float | None:
    """Return milliseconds; nothing where there was none, or where it is beyond the last bucket."""
    return None if micros is None or math.isinf(micros) else micros / 1e3


def _over_time(data: pl.DataFrame) -> alt.Chart:
    """Return a chart whose x axis is the reader's local time."""
    axis = alt.Axis(title=None, format="%H:%M", tickCount=6, grid=False, labelOverlap=True)
    return alt.Chart(data, height=_HEIGHT).encode(x=alt.X("time:T", axis=axis))


def _legend(field: str, names: list[str], colours: list[str]) -> Any:  # noqa: ANN401 - Altair's own type is generated
    return alt.Color(
        f"{field}:N",
        scale=alt.Scale(domain=names, range=colours),
        legend=alt.Legend(title=None, orient="top", direction="horizontal", offset=2),
    )


def _time_tip() -> alt.Tooltip:
    return alt.Tooltip("time:T", title="time", format="%Y-%m-%d %H:%M")
