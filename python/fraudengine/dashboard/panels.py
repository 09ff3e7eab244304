"""Panels: parts of a page that refresh by themselves, and say in place what they cannot show.

A panel is a fragment of Streamlit: only it runs again, so nothing else on the page moves. A store that is
away takes the panels that need it with it, and no others; they come back by themselves with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from fraudengine.dashboard.context import settings, stores
from fraudengine.errors import ConfigError, StoreError

__all__ = ["LIVE", "STORE_NAMES", "banner", "guarded", "panel"]

LIVE = "live"
"""Key of the switch by which a user stops and goes on with the refreshing."""

STORE_NAMES = {"postgres": "PostgreSQL", "redis": "Redis"}
"""What people call the stores."""

_LOOK_SECONDS = 1.5

P = ParamSpec("P")


def guarded(show: Callable[P, None]) -> Callable[P, None]:
    """Return a part of a page that says in place that a store is away or switched off."""

    @functools.wraps(show)
    def shown(*given: P.args, **named: P.kwargs) -> None:
        try:
            show(*given, **named)
        except StoreError as error:
            name = STORE_NAMES.get(error.store, error.store)
            # The reason is no news where the banner tells it; where there is none, it is here.
            st.caption(f":material/hourglass_empty: Waiting for {name}.", help=_reason(error))
        except ConfigError as error:
            st.caption(f":material/toggle_off: {error}")

    return shown


def panel(show: Callable[P, None]) -> Callable[P, None]:
    """Return a part of a page that also refreshes every `dashboard.refresh_seconds`."""
    seconds = settings().dashboard.refresh_seconds if st.session_state.get(LIVE, True) else None
    return st.fragment(guarded(show), run_every=seconds)


def banner() -> None:
    """Show across the page which stores do not answer, for as long as they do not."""

    @st.fragment(run_every=settings().dashboard.refresh_seconds)
    def look() -> None:
        for store, error in stores().outages(seconds=_LOOK_SECONDS).items():
            name = STORE_NAMES[store]
            st.error(
                f"**{name} does not answer.** What is read from it is missing until it comes back. "
                f"({_reason(error)})",
                icon=":material/cloud_off:",
            )

    look()


def _reason(error: StoreError) -> str:
    return str(error).removeprefix(f"{error.store}: ")
