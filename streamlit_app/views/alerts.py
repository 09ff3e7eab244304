"""Alerts: what to look at next, one by one or in groups, verdicts, and who gave them.

The list refreshes by itself while nothing is picked. With something picked its rows stay where they are (only
their states refresh), so that nothing moves under the hand of who works on it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
import streamlit as st

from fraudengine.dashboard import case, guarded, judging, panel, rows, settings, stores
from fraudengine.dashboard.text import ACTIONS, ago, count, instant, money, moneys, zone
from fraudengine.stores import Group, GroupBy, QueuedAlert, QueueFilter, QueueTotals, State

SHOWN = 200
GROUPS = 100
BULK_MAX = 500
# How long sums over the whole queue are kept, for all sessions: each reads every open alert.
QUEUE_SECONDS, GROUP_SECONDS = 2, 10
VIEWS = {
    "open": "Open",
    "customer_id": "By customer",
    "device_id": "By device",
    "merchant_id": "By merchant",
    "snoozed": "Snoozed",
    "closed": "Closed",
    "audit": "Audit",
}
TIMES = {"Last hour": 1, "Last day": 24, "Last week": 168, "All": None}
REFERENCE = settings().engine.reference_currency

st.title("Alerts", anchor=False)


@st.cache_data(ttl=QUEUE_SECONDS, max_entries=64, show_spinner=False)
def counted(given: int, url: str) -> QueueTotals:
    """Return how long the queue is; a verdict of this session counts at once."""
    del given, url
    return stores().queue_totals()


@st.cache_data(ttl=GROUP_SECONDS, max_entries=64, show_spinner=False)
def grouped(by: GroupBy, wanted: QueueFilter, given: int, url: str) -> tuple[Group, ...]:
    """Return the groups with the most money at risk; a verdict of this session counts at once."""
    del given, url
    return stores().queue_groups(by, wanted, GROUPS)


@panel
def totals() -> None:
    """Show how long the queue is."""
    told = counted(judging.given(), settings().postgres.url)
    queue, at_risk, asleep = st.columns([1, 2, 1])
    queue.metric("Open alerts", count(told.open))
    sums = {currency: round(amount) for currency, amount in told.at_risk_minor.items()}
    shown = moneys(sums, REFERENCE)
    at_risk.metric("Money at risk", shown[0] if shown else "-", help="Amount times score, open alerts only.")
    if len(shown) > 1:
        at_risk.caption("and " + ", ".join(shown[1:]))
    asleep.metric("Snoozed", count(told.snoozed))


def filters() -> QueueFilter:
    """Show the filters; return them."""
    first, second, third, fourth = st.columns([1.2, 1, 1, 2])
    actions = first.multiselect("Action", list(ACTIONS)[1:], format_func=ACTIONS.__getitem__, key="f-actions")
    since = second.selectbox("Decided", list(TIMES), index=3, key="f-since")
    score = third.number_input("Score from", 0.0, 1.0, 0.0, 0.05, key="f-score")
    asked = st.query_params.get("customer", "")
    customer = fourth.text_input("Customer", value=asked, key="f-customer", placeholder="Any: the whole id")
    hours = TIMES[since]
    view = st.session_state.get("view") or "open"
    return QueueFilter(
        state=cast("State", view if view in ("snoozed", "closed") else "open"),
        actions=tuple(actions),
        score_min=score or None,
        customer_id=customer.strip() or None,
        # Whole minutes, so that a refresh asks for the same.
        since_micros=None if hours is None else (int(time.time()) // 60 * 60 - hours * 3_600) * 1_000_000,
    )


def rows_of(alerts: Sequence[QueuedAlert]) -> pd.DataFrame:
    """Return alerts as a table."""
    now = time.time()
    return pd.DataFrame(
        [
            {
                "action": ACTIONS[each.transaction.action],
                "at risk": at_risk_of(each.worth_minor),
                "amount": money(each.transaction.amount_minor, each.transaction.currency, REFERENCE),
                "score": each.transaction.score,
                "customer": each.transaction.customer_id,
                "merchant": each.transaction.merchant_id,
                "why": ", ".join(reason.feature.replace("_", " ") for reason in each.transaction.reasons[:2]),
                "decided": ago(now - each.transaction.decided_time_micros / 1e6),
                "state": case.state_of(each),
                "transaction": each.transaction.transaction_id,
            }
            for each in alerts
        ]
    )


def at_risk_of(worth_minor: float) -> str:
    """Return money at risk in the reference currency."""
    return money(round(worth_minor), None, REFERENCE)


COLUMNS: dict[str, Any] = {
    "at risk": st.column_config.TextColumn(
        "at risk", alignment="right", help=f"Amount times score, in {REFERENCE} by engine.rates."
    ),
    "amount": st.column_config.TextColumn("amount", alignment="right"),
    "score": st.column_config.ProgressColumn("score", min_value=0, max_value=1, format="%.3f"),
    "decided": st.column_config.TextColumn("decided", alignment="right"),
}


def held(key: str, wanted: QueueFilter) -> list[QueuedAlert]:
    """Return the alerts of the list: as they were while something is picked, else anew."""
    memory = st.session_state.get("held", {})
    picked = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
    before = memory.get(key)
    if picked and before:
        fresh = stores().queued([each.transaction.transaction_id for each in before])
        alerts = [fresh.get(each.transaction.transaction_id, each) for each in before]
    else:
        alerts = list(stores().queue_page(wanted, SHOWN).alerts)
    # Only what is shown now: lists of other filters and of before the last verdict are over.
    st.session_state["held"] = {key: alerts}
    return alerts


def work_on(alerts: Sequence[QueuedAlert], key: str, nothing: str) -> None:
    """Show a list to pick from, and beside it what is picked with its buttons."""
    table, side = st.columns([1.75, 1], gap="medium")
    with table:
        if not alerts:
            st.success(nothing, icon=":material/done_all:")
            return
        frame = rows_of(alerts)
        state = cast(
            "Any",
            st.dataframe(
                frame, hide_index=True, column_config=COLUMNS, key=key, on_select="rerun",
                selection_mode="multi-row", height=min(520, 38 + 35 * len(frame)),
            ),
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: rows.as_csv(frame), "alerts.csv", "text/csv", icon=":material/download:",
            on_click="ignore", key=f"{key}-csv",
        )  # fmt: skip
    picked = [alerts[row] for row in state["selection"]["rows"] if row < len(alerts)]
    with side, st.container(border=True):
        if not picked:
            st.caption(":material/touch_app: Pick an alert on the left, or several.")
            return
        if len(picked) == 1:
            case.headline(picked[0])
        else:
            worth = sum(each.worth_minor for each in picked)
            st.markdown(f"#### {count(len(picked))} alerts · {at_risk_of(worth)} at risk")
        ids = [each.transaction.transaction_id for each in picked]
        judging.buttons(ids, f"judge-{hash(tuple(ids))}", many=len(ids) > 1)
        if len(picked) == 1:
            case.details(picked[0])


@panel
def queue(wanted: QueueFilter) -> None:
    """Show open, snoozed or closed alerts, most money at risk first."""
    judging.told()
    key = f"queue-{hash(wanted)}-{judging.given()}"
    empty = {
        "open": "Nothing to do: no open alert.",
        "snoozed": "Nothing is snoozed.",
        "closed": "No verdict yet.",
    }
    work_on(held(key, wanted), key, empty[wanted.state])


@panel
def groups(by: GroupBy, wanted: QueueFilter) -> None:
    """Show who or what has the most money at risk, and all alerts of one of them."""
    judging.told()
    found = grouped(by, wanted, judging.given(), settings().postgres.url)
    if not found:
        st.success("Nothing to do: no open alert.", icon=":material/done_all:")
        return
    name = VIEWS[by].removeprefix("By ")
    keys = {
        each.key: f"{each.key} · {count(each.alerts)} alerts · {at_risk_of(each.worth_minor)}"
        for each in found
    }
    table, side = st.columns([1.2, 1], gap="medium")
    with table:
        frame = pd.DataFrame(
            [
                {
                    name: each.key,
                    "alerts": each.alerts,
                    "blocked": each.blocked,
                    "at risk": at_risk_of(each.worth_minor),
                    "highest score": each.score_max,
                    "newest": instant(each.newest_micros, zone()),
                }
                for each in found
            ]
        )
        columns = {**COLUMNS, "highest score": COLUMNS["score"]}
        st.dataframe(frame, hide_index=True, column_config=columns, height=min(480, 38 + 35 * len(frame)))
        st.download_button(
            "CSV", lambda: rows.as_csv(frame), f"alerts-by-{name}.csv", "text/csv",
            icon=":material/download:", on_click="ignore", key=f"{by}-csv",
        )  # fmt: skip
    with side, st.container(border=True):
        # By its key, not by its row: rows move with the queue.
        chosen = st.selectbox(
            f"Work on one {name}", list(keys), index=None, key=f"group-{by}", placeholder="Choose",
            format_func=lambda key: keys.get(key, key),
        )  # fmt: skip
        if chosen is None:
            st.caption(f":material/touch_app: Choose a {name} to decide all its alerts in one go.")
            return
        ids = stores().queue_ids(by, chosen, wanted, BULK_MAX)
        if len(ids) == BULK_MAX:
            st.caption(f"The {count(BULK_MAX)} with the most money at risk.")
        members = stores().queued(ids[:SHOWN])
        st.dataframe(
            rows_of([members[each] for each in ids[:SHOWN] if each in members]), hide_index=True,
            column_config=COLUMNS, height=220,
        )  # fmt: skip
        judging.buttons(ids, f"judge-{by}-{chosen}", many=True)


@guarded
def trail() -> None:
    """Show what people did, the newest first."""
    wanted = st.text_input("Transaction", key="audit-id", placeholder="All: or the id of one")
    lines = stores().audit(500, wanted.strip() or None)
    if not lines:
        st.info("Nothing was done yet.", icon=":material/history:")
        return
    frame = pd.DataFrame(case.audit_rows(lines))
    st.dataframe(frame, hide_index=True, height=560)
    st.caption(f"The newest {count(len(lines))} lines. The audit only grows: nobody can change it.")
    st.download_button(
        "CSV",
        lambda: rows.as_csv(frame),
        "audit.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


totals()
view = st.segmented_control(
    "View",
    list(VIEWS),
    format_func=VIEWS.__getitem__,
    default="open",
    key="view",
    label_visibility="collapsed",
)
if view == "audit":
    trail()
else:
    conditions = filters()
    if view in ("customer_id", "device_id", "merchant_id"):
        groups(cast("GroupBy", view), conditions)
    else:
        queue(conditions)
