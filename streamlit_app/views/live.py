"""Live: what is decided now, how fast, what it stops, and whether every part keeps up."""

from __future__ import annotations

import altair as alt
import streamlit as st

from fraudengine.dashboard import charts, health, panel, reads, settings
from fraudengine.dashboard.health import Part, State
from fraudengine.dashboard.text import count, duration, minor_of_major, money, moneys, share
from fraudengine.errors import StreamError
from fraudengine.stores import Counts

# Minutes of a window, and minutes of one point in its charts.
WINDOWS = {"15 min": (15, 1), "1 hour": (60, 1), "6 hours": (360, 5), "24 hours": (1_440, 15)}
MARKS = {
    State.GOOD: ":green-badge[:material/check: {}]",
    State.BEHIND: ":orange-badge[:material/schedule: {}]",
}
MARKS |= {State.AWAY: ":red-badge[:material/close: {}]", State.OFF: ":gray-badge[:material/toggle_off: {}]"}
SPARK_MINUTES = 30


def stopped_of(counts: Counts) -> dict[str | None, int]:
    """Return the amounts that were blocked, by currency."""
    return {currency: amount for (action, currency), amount in counts.amounts.items() if action == "block"}


@panel
def parts() -> None:
    """Show how every part is, in one line of words."""
    told = health.parts()
    st.markdown(" ".join(MARKS[part.state].format(_escaped(part)) for part in told))


def _escaped(part: Part) -> str:
    text = f"**{part.name}** {part.line}"
    return text.replace("[", "(").replace("]", ")")


@panel
def figures() -> None:
    """Show the figures of the last minute, with the last half hour behind them."""
    stats = reads.stats(1)
    if not stats.since_micros:
        st.info("Nothing was decided yet. Figures appear with the first decision of the stream.")
        return
    # The minute that is not over would bend every line down.
    past = charts.binned(reads.minutes(SPARK_MINUTES + 1)[:-1], 1)
    recent = stats.recent
    reference = settings().engine.reference_currency
    traffic = st.columns(4)
    _card(
        traffic[0],
        "Transactions/s",
        count(recent.transactions / recent.seconds if recent.seconds else 0.0),
        [each.rate for each in past],
        f"Over the last minute. {count(stats.total.transactions)} since the counters began.",
    )
    _card(
        traffic[1],
        "Fraud rate (flagged)",
        share(recent.share(recent.reviewed + recent.blocked)),
        [_share(each.reviewed + each.blocked, each.transactions) for each in past],
        "Share of transactions that were not approved, over the last minute.",
    )
    _card(
        traffic[2],
        "Review rate",
        share(recent.share(recent.reviewed)),
        [_share(each.reviewed, each.transactions) for each in past],
        "Share of transactions that were sent to review, over the last minute.",
    )
    stopped = moneys(stopped_of(stats.total), reference)
    _card(
        traffic[3],
        "Money stopped",
        stopped[0] if stopped else money(0, None, reference),
        [float(each.stopped_minor.get(_currency(stats.total), 0)) for each in past],
        "Amounts blocked since the counters began"
        + (f"; also {', '.join(stopped[1:])}." if stopped[1:] else "."),
    )
    latency = stats.recent_latency
    speed = st.columns(4)
    for column, name, value in zip(
        speed,
        ("p50", "p95", "p99"),
        (latency.p50_micros, latency.p95_micros, latency.p99_micros) if latency else (None, None, None),
        strict=False,
    ):
        text = "-" if value is None else duration(value)
        column.metric(
            f"Decision latency {name}",
            text,
            border=True,
            help="From the broker's receipt to the decision: a sample of the last minute.",
        )
    speed[3].metric(
        "Consumer lag", _lag(), border=True, help="Transactions in Kafka that are not decided yet."
    )


def _card(
    place: st.delta_generator.DeltaGenerator, label: str, value: str, line: list[float], meaning: str
) -> None:
    place.metric(
        label,
        value,
        border=True,
        chart_data=line or None,
        chart_type="area",
        delta_color="blue",
        help=meaning,
    )


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _currency(counts: Counts) -> str | None:
    """Return the currency in which most was blocked."""
    stopped = stopped_of(counts)
    return max(stopped, key=lambda name: stopped[name], default=None)


def _lag() -> str:
    try:
        lag = health.lag_of(reads.stream_status())
    except StreamError:
        return "-"
    return "-" if lag is None else count(lag)


@panel
def history(window: str) -> None:
    """Show the charts of a window."""
    minutes, size = WINDOWS[window]
    told = reads.minutes(minutes)
    bins = charts.binned(told, size)
    if not any(each.transactions for each in bins):
        st.info(f"Nothing was decided in the last {window}.")
        return
    if len(bins) > 1 and bins[-1].seconds < 10:
        del bins[-1]
    currency = _currency(reads.stats(1).total)
    name = currency or settings().engine.reference_currency
    left, right = st.columns(2)
    with left:
        _titled("Transactions/s", charts.rate_chart(bins))
        _titled("Decision latency, ms", charts.latency_chart(bins))
    with right:
        _titled("Sent to review and blocked", charts.share_chart(bins))
        _titled(f"Money stopped, {name}", charts.money_chart(bins, currency, minor_of_major(name)))


def _titled(title: str, chart: alt.Chart) -> None:
    with st.container(border=True):
        st.markdown(f"**{title}**")
        st.altair_chart(chart, width="stretch")


st.title("Live", anchor=False)
parts()
figures()
chosen = st.segmented_control(
    "Window", list(WINDOWS), default="1 hour", label_visibility="collapsed", required=True
)
history(chosen or "1 hour")
