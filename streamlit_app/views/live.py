"""Live: what is decided now, how fast, what it stops, and whether every part keeps up."""

from __future__ import annotations

import streamlit as st

from fraudengine.dashboard import panel, settings, stores
from fraudengine.dashboard.text import count, duration, moneys, share

st.title("Live", anchor=False)


@panel
def figures() -> None:
    """Show the figures of the last minute."""
    stats = stores().stats(1)
    recent, latency = stats.recent, stats.recent_latency
    rate, p50, p95, p99, flagged, review = st.columns(6)
    rate.metric("Transactions/s", count(recent.transactions / recent.seconds if recent.seconds else 0.0))
    if latency is not None:
        p50.metric("Latency p50", duration(latency.p50_micros))
        p95.metric("Latency p95", duration(latency.p95_micros))
        p99.metric("Latency p99", duration(latency.p99_micros))
    flagged.metric("Flagged", share(recent.share(recent.reviewed + recent.blocked)))
    review.metric("Reviewed", share(recent.share(recent.reviewed)))
    stopped = {
        currency: sum_ for (action, currency), sum_ in stats.total.amounts.items() if action == "block"
    }
    st.metric("Money stopped", ", ".join(moneys(stopped, settings().engine.reference_currency)) or "0")


figures()
