"""The dashboard's pages without a browser: one page, or the whole application, over given settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from store_rows import ROOT
from streamlit.testing.v1 import AppTest

from fraudengine.config import Settings
from fraudengine.dashboard import context
from fraudengine.dashboard.access import Role, User

__all__ = ["ANALYST", "VIEWER", "all_text", "application", "page"]

ANALYST = User("Ann", Role.ANALYST)
VIEWER = User("Vic", Role.VIEWER)
_RUN_SECONDS = 60.0


@contextmanager
def application(settings: Settings) -> Iterator[AppTest]:
    """Yield the whole application, not run yet, with nobody logged in."""
    _configure(settings)
    try:
        yield AppTest.from_file(str(ROOT / "streamlit_app/app.py"), default_timeout=_RUN_SECONDS)
    finally:
        context.close()


@contextmanager
def page(settings: Settings, name: str, user: User = ANALYST) -> Iterator[AppTest]:
    """Yield one page of `streamlit_app/views`, run once for this user."""
    _configure(settings)
    made = AppTest.from_file(str(ROOT / f"streamlit_app/views/{name}.py"), default_timeout=_RUN_SECONDS)
    made.session_state["user"] = user
    try:
        yield made.run()
    finally:
        context.close()


def _configure(settings: Settings) -> None:
    # What was read for one test is nothing to the next one.
    st.cache_data.clear()
    context.configure(settings)


def all_text(app: AppTest) -> str:
    """Return what stands on a page, element by element."""
    kinds = (app.title, app.markdown, app.caption, app.error, app.info, app.warning, app.success)
    texts = [element.value for kind in kinds for element in kind]
    return "\n".join([*texts, *(f"{each.label}: {each.value}" for each in app.metric)])
