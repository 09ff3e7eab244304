"""Reads that many sessions make every second, made once for all of them.

What is here is at most `_FRESH_SECONDS` older than the stores; long windows, whose past does not change, a
little more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from fraudengine.dashboard.context import settings, stores
from fraudengine.streaming.client import OperatorClient

if TYPE_CHECKING:
    from fraudengine.stores import FeedEntry, Minute, Stats, Writer

__all__ = ["minutes", "newest", "stats", "stream_status", "writers"]

_FRESH_SECONDS = 0.5
_SLOW_SECONDS = 15.0
_STREAM_SECONDS = 1.0
SHORT_MINUTES = 60
"""Windows up to this length are read as often as the rest."""


@st.cache_data(ttl=_FRESH_SECONDS, show_spinner=False)
def stats(of_minutes: int) -> Stats:
    """Return the figures of so many minutes."""
    return stores().stats(of_minutes)


def minutes(most: int) -> tuple[Minute, ...]:
    """Return the newest minutes, oldest first."""
    return _short(most) if most <= SHORT_MINUTES else _long(most)


@st.cache_data(ttl=_FRESH_SECONDS, show_spinner=False)
def newest(most: int) -> tuple[FeedEntry, ...]:
    """Return the newest decisions of the feed."""
    return stores().newest_decisions(most)


@st.cache_data(ttl=_FRESH_SECONDS, show_spinner=False)
def writers() -> tuple[Writer, ...]:
    """Return how far the writers to PostgreSQL are."""
    return stores().writers()


@st.cache_data(ttl=_FRESH_SECONDS, show_spinner=False)
def stream_status() -> dict[str, Any] | None:
    """Return the status of the stream; `None`: no address of it is set.

    Raises
    ------
    StreamError
        It does not answer.

    """
    told = settings()
    if not told.dashboard.stream and told.http.port == 0:
        return None
    return OperatorClient.of(told, told.dashboard.stream or None, seconds=_STREAM_SECONDS).status()


@st.cache_data(ttl=_FRESH_SECONDS, show_spinner=False)
def _short(most: int) -> tuple[Minute, ...]:
    return stores().minutes(most)


@st.cache_data(ttl=_SLOW_SECONDS, show_spinner=False)
def _long(most: int) -> tuple[Minute, ...]:
    return stores().minutes(most)
