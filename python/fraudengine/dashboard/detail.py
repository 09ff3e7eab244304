"""One transaction: what was decided and why, its features, and what its customer did around it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit as st

from fraudengine.dashboard import customer_charts, rows
from fraudengine.dashboard.context import settings, stores
from fraudengine.dashboard.panels import guarded
from fraudengine.dashboard.text import ACTIONS, code, customer_link, duration, instant, money, zone
from fraudengine.features import catalogue
from fraudengine.stores import Filter

if TYPE_CHECKING:
    from fraudengine.stores import StoredTransaction

__all__ = ["reasons", "show"]

_BADGES: Final = {"approve": "blue", "review": "orange", "block": "red"}
_HISTORY_DAYS: Final = 30
_HISTORY_ROWS: Final = 300
_DAY_MICROS: Final = 86_400_000_000


def show(told: StoredTransaction) -> None:
    """Show it."""
    reference = settings().engine.reference_currency
    badge = f":{_BADGES[told.action]}-badge[{ACTIONS[told.action]}]"
    st.markdown(f"## {money(told.amount_minor, told.currency, reference)} &nbsp; {badge}")
    _facts(told)
    why, features = st.columns([5, 7], gap="medium")
    with why, st.container(border=True):
        reasons(told)
    with features, st.container(border=True):
        _features(told)
    _customer(told, reference)


def _facts(told: StoredTransaction) -> None:
    flags = [
        text
        for present, text in (
            (told.late, "late"),
            (told.coarse, "a window at coarse resolution"),
            (told.without_model, "decided without a model"),
        )
        if present
    ]
    groups: tuple[dict[str, object], ...] = (
        {
            "Transaction": told.transaction_id,
            "Customer": told.customer_id,
            "Card": told.card_id,
            "Device": told.device_id,
        },
        {
            "Merchant": told.merchant_id,
            "Category": told.merchant_category,
            "Channel": told.channel,
            "Country": told.country,
        },
        {
            "Paid": instant(told.event_time_micros, zone()),
            "Decided": instant(told.decided_time_micros, zone()),
            "Latency": None if told.latency_micros is None else duration(told.latency_micros),
            "IP address": told.ip_address,
        },
        {
            "Score": None if told.score is None else f"{told.score:.4f}",
            "Anomaly": None if told.anomaly is None else f"{told.anomaly:.4f}",
            "Model": None if told.model is None else f"{told.model:016x}",
            "Remarks": ", ".join(flags) or None,
        },
    )
    for column, facts in zip(st.columns([5, 4, 7, 4]), groups, strict=True):
        column.markdown(
            "  \n".join(
                f":gray[{name}] &nbsp; {code(value)}" for name, value in facts.items() if value is not None
            )
        )
    _verdict(told.transaction_id)


@guarded
def _verdict(transaction_id: str) -> None:
    """Show what became known about it, if anything."""
    label, alert = stores().label(transaction_id), stores().alert(transaction_id)
    told = []
    if label is not None:
        kind = f" ({label.typology})" if label.typology else ""
        verdict = "fraud" if label.is_fraud else "genuine"
        told.append(f"Labelled **{verdict}**{kind}, known since {instant(label.known_time_micros, zone())}.")
    if alert is not None:
        who = f" by {alert.analyst}" if alert.analyst else ""
        told.append(
            f"Alert: **{alert.status}**{who}" + (f", verdict {alert.verdict}." if alert.verdict else ".")
        )
    if told:
        st.caption(" ".join(told))


def reasons(told: StoredTransaction) -> None:
    """Show which features raised the score, and by how much."""
    st.markdown("**Why**")
    if not told.reasons:
        st.caption(
            "An approved transaction has no reasons." if told.action == "approve" else "No reasons were told."
        )
        return
    known = _catalogue()
    labels = [f"{each.feature} = {_value(each.value, known.get(each.feature))}" for each in told.reasons]
    st.altair_chart(customer_charts.reasons_chart(told.reasons, labels), width="stretch")
    for each in told.reasons:
        if each.feature in known:
            st.caption(f"**{each.feature}**: {known[each.feature]['meaning']}")


def _features(told: StoredTransaction) -> None:
    st.markdown("**Features**")
    if told.features is None:
        st.caption(
            "Not recorded. `engine.features` says which decisions carry their features: "
            f"it is {settings().engine.features!r}."
        )
        return
    known = _catalogue()
    ranked = {each.feature: number for number, each in enumerate(told.reasons)}
    names = sorted(told.features, key=lambda name: ranked.get(name, len(ranked)))
    table = pd.DataFrame(
        {
            "feature": names,
            "value": [told.features[name] for name in names],
            "unit": [known[name]["unit"] for name in names],
            "window": [known[name]["window"] for name in names],
            "meaning": [known[name]["meaning"] for name in names],
        }
    )
    table["value"] = table["value"].astype("float64")
    shown = table.style.format({"value": _number}, na_rep="missing", subset=["value"])
    st.dataframe(shown, hide_index=True, height=330)
    st.download_button(
        "CSV",
        lambda: rows.as_csv(table),
        f"features-{told.transaction_id}.csv",
        "text/csv",
        icon=":material/download:",
    )


@guarded
def _customer(told: StoredTransaction, reference: str) -> None:
    """Show what the customer did in the days before and after."""
    wanted = Filter(
        customer_id=told.customer_id,
        from_micros=told.event_time_micros - _HISTORY_DAYS * _DAY_MICROS,
        to_micros=told.event_time_micros + _DAY_MICROS,
    )
    page = stores().page(wanted, _HISTORY_ROWS)
    around = list(page.transactions)
    if not any(each.transaction_id == told.transaction_id for each in around):
        around.append(told)
    st.markdown(f"### Customer {code(told.customer_id)}")
    st.caption(
        f"{len(around):,} payments of the {_HISTORY_DAYS} days before and the day after"
        + (", the newest ones." if page.next else ".")
        + f" Risk of {customer_link(told.customer_id)}."
    )
    line, place = st.columns(2, gap="medium")
    with line, st.container(border=True):
        st.markdown("**Over time**")
        st.altair_chart(customer_charts.timeline(around, told.transaction_id, reference), width="stretch")
    with place, st.container(border=True):
        st.markdown("**On the map**")
        drawn = customer_charts.map_chart(around, told.transaction_id, reference)
        if drawn is None:
            st.caption("No place of these payments is known.")
        else:
            st.vega_lite_chart(drawn, width="stretch")
    table = rows.frame(around, zone(), reference)
    with st.expander("As a table"):
        st.dataframe(rows.styled(table), hide_index=True)
        st.download_button(
            "CSV",
            lambda: rows.as_csv(table),
            f"customer-{told.customer_id}.csv",
            "text/csv",
            icon=":material/download:",
        )


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in catalogue().iter_rows(named=True)}


def _value(value: float | None, feature: dict[str, Any] | None) -> str:
    unit = feature["unit"] if feature and feature["unit"] not in ("0 or 1", "code", "ratio", "-") else ""
    return "missing" if value is None else f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "missing"
    if value == int(value):
        # Codes have four digits, and no separators.
        return f"{value:.0f}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.1f}"
