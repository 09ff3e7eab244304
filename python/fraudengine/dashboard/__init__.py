"""What the pages of `streamlit_app/` share: who looks, where the data comes from, how figures are written.

The pages read PostgreSQL and Redis through `fraudengine.stores` only and never talk to the engine. A page is
made of panels, which refresh by themselves and say in place what they cannot show:

    from fraudengine.dashboard import panel, stores, user

    @panel
    def newest() -> None:
        st.dataframe(stores().newest_decisions(50))

    newest()
"""

from __future__ import annotations

from fraudengine.dashboard.access import Role, User
from fraudengine.dashboard.context import settings, stores, verdicts
from fraudengine.dashboard.login import user
from fraudengine.dashboard.panels import guarded, panel

__all__ = ["Role", "User", "guarded", "panel", "settings", "stores", "user", "verdicts"]
