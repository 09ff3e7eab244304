"""Beside every page: whether it refreshes, the time here and in UTC, who is logged in."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from fraudengine.dashboard import login
from fraudengine.dashboard.context import gate, settings
from fraudengine.dashboard.panels import LIVE
from fraudengine.dashboard.text import zone

__all__ = ["show"]


def show() -> None:
    """Show it."""
    with st.sidebar:
        st.toggle("Refresh", value=True, key=LIVE, help="Off: what is shown stays as it is.")
        _clock()
        who = login.user()
        if gate().is_open:
            st.caption("No password is set: everybody on this machine is an analyst.")
        else:
            st.caption(f":material/person: {who.name} · {who.role}")
            st.button("Log out", on_click=login.log_out, icon=":material/logout:", width="stretch")


def _clock() -> None:
    @st.fragment(run_every=max(1.0, settings().dashboard.refresh_seconds))
    def tick() -> None:
        now = datetime.now(UTC)
        here = now.astimezone(zone())
        st.caption(f"{here:%a %d %b %H:%M:%S} {here.tzname()}  \n{now:%H:%M:%S} UTC")

    tick()
