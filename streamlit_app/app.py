"""The analysts' dashboard: log-in, navigation, and what stands on every page.

Run by `fraudengine dashboard`. Each page is a file of `views/`; what they share is `fraudengine.dashboard`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from fraudengine.dashboard import login, panels, sidebar

ICON = str(Path(__file__).parent / "icon.svg")

st.set_page_config(page_title="fraudengine", page_icon=ICON, layout="wide")
PAGES = [
    st.Page("views/live.py", title="Live", icon=":material/monitoring:", default=True),
    st.Page("views/feed.py", title="Feed", icon=":material/list_alt:", url_path="feed"),
    st.Page("views/alerts.py", title="Alerts", icon=":material/notifications_active:", url_path="alerts"),
    st.Page("views/customer.py", title="Customer risk", icon=":material/person_search:", url_path="customer"),
    st.Page("views/model.py", title="Model", icon=":material/model_training:", url_path="model"),
]
# What runs again every second would else fade every second.
st.html("<style>[data-stale='true'] { opacity: 1 !important; transition: none !important; }</style>")
known = login.recognised() is not None
# Told to those who have to log in too, so that an address leads to its page after it.
page = st.navigation(PAGES, position="sidebar" if known else "hidden")
if known:
    sidebar.show()
    panels.banner()
    page.run()
else:
    login.ask()
