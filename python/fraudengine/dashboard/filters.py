"""What the page Feed is asked for: words in a box, and conditions behind a button."""

from __future__ import annotations

import time
from typing import Final

import streamlit as st

from fraudengine.schema import CHANNELS
from fraudengine.stores import Filter

__all__ = ["MINUTES", "asked", "is_empty"]

MINUTES: Final = {"any time": None, "15 min": 15, "1 hour": 60, "24 hours": 1_440, "7 days": 10_080}
"""Windows of event time that can be asked for."""
_ACTIONS: Final = ("approve", "review", "block")


def asked(customer: str | None, merchant: str | None) -> Filter:
    """Show the conditions; return what they ask for, for a customer or merchant if one is given."""
    actions, more = st.columns([3, 1], vertical_alignment="bottom")
    with actions:
        chosen = st.pills(
            "Action", _ACTIONS, selection_mode="multi", key="feed_actions", label_visibility="collapsed"
        )
    with more, st.popover("More filters", icon=":material/filter_list:", width="stretch"):
        window = st.selectbox("Event time", list(MINUTES), key="feed_window")
        low, high = st.slider("Score", 0.0, 1.0, (0.0, 1.0), step=0.01, key="feed_score")
        least = st.number_input("Amount from", min_value=0.0, value=None, key="feed_least", placeholder="any")
        most = st.number_input("Amount to", min_value=0.0, value=None, key="feed_most", placeholder="any")
        channels = st.multiselect("Channel", CHANNELS, key="feed_channels")
        countries = st.text_input(
            "Countries", key="feed_countries", placeholder="DE, FR", help="Two letters each."
        )
    minutes = MINUTES[window]
    return Filter(
        # Whole minutes, so that the same question is the same for a while.
        from_micros=None if minutes is None else (int(time.time()) // 60 - minutes) * 60_000_000,
        customer_id=customer,
        merchant_id=merchant,
        actions=tuple(chosen),
        score_min=low if low > 0 else None,
        score_max=high if high < 1 else None,
        amount_min_minor=None if least is None else round(least * 100),
        amount_max_minor=None if most is None else round(most * 100),
        channels=tuple(channels),
        countries=tuple(each for each in countries.upper().replace(",", " ").split() if len(each) == 2),
    )


def is_empty(wanted: Filter) -> bool:
    """Tell whether every transaction is asked for."""
    return wanted == Filter()
