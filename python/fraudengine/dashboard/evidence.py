"""What the page Model stands on: the bundle, and what became of stored decisions; read once in a while.

Everything here is kept for `KEPT_SECONDS`, for all sessions: figures of days do not change by the second.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import streamlit as st

from fraudengine.bundle import Bundle
from fraudengine.dashboard.context import settings, stores
from fraudengine.dashboard.thresholds import Outcomes
from fraudengine.drift import Reference, held_out_rows
from fraudengine.errors import BundleError
from fraudengine.money import Worth

if TYPE_CHECKING:
    from fraudengine.stores import FeatureSample, QualityDay, ScoredSample

__all__ = ["KEPT_SECONDS", "bundle", "days", "drift_sample", "held_out", "live", "matured", "reference"]

KEPT_SECONDS = 60
_SCORED_ROWS, _FEATURE_ROWS = 40_000, 5_000


def bundle() -> Bundle | str:
    """Return the verified bundle of `dashboard.bundle`, or why there is none."""
    folder = settings().dashboard.bundle
    if not folder.name:
        return "`dashboard.bundle` names no folder: set it to the bundle that the stream decides with."
    manifest = folder / "manifest.json"
    changed = manifest.stat().st_mtime_ns if manifest.is_file() else 0
    try:
        return _loaded(str(folder.absolute()), changed)
    except BundleError as error:
        return f"{error}."


@st.cache_resource(max_entries=4, show_spinner=False)
def _loaded(folder: str, _changed: int) -> Bundle:
    return Bundle.load(folder)


@st.cache_resource(max_entries=4, show_spinner=False)
def reference(_bundle: Bundle, name: str) -> Reference | None:
    """Return the distributions of a bundle's training; `name` is its hash."""
    del name
    return Reference.of(_bundle)


@st.cache_resource(max_entries=4, show_spinner=False)
def held_out(_bundle: Bundle, name: str) -> tuple[Outcomes, float] | None:
    """Return the held-out scores of a bundle and how many days they cover; `name` is its hash."""
    del name
    rows = held_out_rows(_bundle)
    if rows is None or not rows.height:
        return None
    worth = Worth.of(settings().engine)
    factors = rows["currency"].map_elements(
        lambda code: worth.factor(code) or 0.0, return_dtype=pl.Float64, skip_nulls=False
    )
    length = float(rows["days"][0])
    money = rows["amount_minor"].to_numpy() * factors.to_numpy()
    return Outcomes(
        rows["score"].to_numpy(), rows["is_fraud"].to_numpy(), money, rows["weight"].to_numpy(), length
    ), length


def matured(length: int) -> tuple[date, date]:
    """Return the first and last of so many days that are old enough for nearly every fraud to be reported."""
    last = datetime.now(UTC).date() - timedelta(days=settings().dashboard.matured_days + 1)
    return last - timedelta(days=length - 1), last


def live(length: int) -> tuple[Outcomes, ScoredSample]:
    """Return the stored decisions of the matured days."""
    return _live(settings().postgres.url, *matured(length))


@st.cache_resource(ttl=KEPT_SECONDS, max_entries=8, show_spinner=False)
def _live(url: str, first: date, last: date) -> tuple[Outcomes, ScoredSample]:
    sample = stores().scored(first, last, _SCORED_ROWS)
    worth = Worth.of(settings().engine)
    codes, place = np.unique(sample.currency, return_inverse=True)
    factors = np.array([worth.factor(str(code)) or 0.0 for code in codes])
    money = sample.amount_minor * (factors[place] if codes.size else 1.0)
    return Outcomes(sample.score, sample.is_fraud, money, sample.weight, sample.days), sample


@st.cache_data(ttl=KEPT_SECONDS, max_entries=8, show_spinner=False)
def _days(url: str, first: date, last: date) -> tuple[QualityDay, ...]:
    return stores().days(first, last)


def days(length: int) -> tuple[QualityDay, ...]:
    """Return what became of the decisions of the matured days."""
    return _days(settings().postgres.url, *matured(length))


@st.cache_resource(ttl=KEPT_SECONDS, max_entries=2, show_spinner=False)
def _drift_sample(url: str) -> FeatureSample:
    return stores().feature_sample(_FEATURE_ROWS)


def drift_sample() -> FeatureSample:
    """Return features of decisions of the last days."""
    return _drift_sample(settings().postgres.url)
