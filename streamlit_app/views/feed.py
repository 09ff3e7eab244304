"""Feed: the newest decisions."""

from __future__ import annotations

import streamlit as st

from fraudengine.dashboard import panel, settings, stores
from fraudengine.dashboard.text import ACTIONS, instant, money, zone

st.title("Feed", anchor=False)


@panel
def newest() -> None:
    """Show the newest decisions."""
    entries = stores().newest_decisions(50)
    if not entries:
        st.info("No decision yet.")
        return
    reference = settings().engine.reference_currency
    st.dataframe(
        [
            {
                "time": instant(each.event_time_micros, zone()),
                "action": ACTIONS[each.action],
                "score": each.score,
                "amount": money(each.amount_minor, each.currency, reference),
                "customer": each.customer_id,
                "transaction": each.transaction_id,
            }
            for each in entries
        ],
        hide_index=True,
    )


newest()
