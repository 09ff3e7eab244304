"""One alert as an analyst sees it: what, how much, why, and what was done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from fraudengine.dashboard import detail
from fraudengine.dashboard.context import settings, stores
from fraudengine.dashboard.judging import VERDICT_NAMES
from fraudengine.dashboard.text import ACTIONS, code, customer_link, instant, money, zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.stores import AuditEntry, QueuedAlert

__all__ = ["audit_rows", "details", "headline", "state_of"]

_TRAIL = 20


def headline(alert: QueuedAlert) -> None:
    """Show what one alert is about: money, action, score, state."""
    told = alert.transaction
    reference = settings().engine.reference_currency
    st.markdown(f"#### {money(told.amount_minor, told.currency, reference)} · {ACTIONS[told.action]}")
    score = "no score" if told.score is None else f"score **{told.score:.3f}**"
    at_risk = money(round(alert.at_risk_minor), told.currency, reference)
    st.markdown(f"{score} · **{at_risk}** at risk · {code(state_of(alert))}")
    st.caption(f"{code(told.transaction_id)} · {instant(told.event_time_micros, zone())}")


def details(alert: QueuedAlert) -> None:
    """Show who, where and why, and what was done about it."""
    told = alert.transaction
    facts = {
        "Customer": customer_link(told.customer_id),
        "Merchant": told.merchant_id,
        "Device": told.device_id,
        "Country": told.country,
        "Channel": told.channel and told.channel.replace("_", " "),
        "IP address": told.ip_address,
    }
    left, right = st.columns(2)
    for number, (name, value) in enumerate(facts.items()):
        shown = "-" if value is None else value if name == "Customer" else code(value)
        (left, right)[number % 2].markdown(f"{name}  \n{shown}")
    if told.reasons:
        detail.reasons(told)
    trail = stores().audit(_TRAIL, told.transaction_id)
    if trail:
        st.caption("What was done about it")
        st.dataframe(audit_rows(trail, ids=False), hide_index=True)


def state_of(alert: QueuedAlert) -> str:
    """Return what was done about an alert in a few words."""
    state = alert.state
    if state.verdict is not None:
        return f"{VERDICT_NAMES[state.verdict]}, by {state.analyst or 'somebody'}"
    if state.snoozed_until_micros is not None:
        return f"snoozed until {instant(state.snoozed_until_micros, zone())}"
    return "open"


def audit_rows(trail: Sequence[AuditEntry], *, ids: bool = True) -> list[dict[str, object]]:
    """Return lines of the audit as rows of a table."""
    return [
        {
            "when": instant(each.done_time_micros, zone()),
            "who": each.actor,
            "what": each.what,
            **({"transaction": each.transaction_id} if ids else {}),
            "from": VERDICT_NAMES.get(each.from_state, each.from_state),
            "to": VERDICT_NAMES.get(each.to_state, each.to_state),
            "note": each.note,
        }
        for each in trail
    ]
