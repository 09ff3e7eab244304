"""Customer risk: who this is, what the windows hold, what is used to pay, where score and spend are going."""

from __future__ import annotations

import time
from typing import get_args
from urllib.parse import quote

import pandas as pd
import streamlit as st

from fraudengine import features
from fraudengine.dashboard import case, guarded, panel, settings, stores
from fraudengine.dashboard import rows as tables
from fraudengine.dashboard.customer_history import Kind, scores, spend, used
from fraudengine.dashboard.judging import VERDICT_NAMES
from fraudengine.dashboard.panels import LIVE
from fraudengine.dashboard.text import ACTIONS, ago, code, count, instant, money, share, zone
from fraudengine.money import Worth
from fraudengine.stores import Filter, StoredTransaction

HISTORY, ALERTS = 200, 100
SLOW_SECONDS = 5.0
KINDS: dict[Kind, str] = dict(
    zip(get_args(Kind), ("Devices", "Merchants", "Countries", "Cards", "IP addresses"), strict=True)
)
WORTH = Worth.of(settings().engine)
RIGHT = st.column_config.TextColumn(alignment="right")
SCORE = st.column_config.ProgressColumn("score", min_value=0, max_value=1, format="%.3f")

st.title("Customer risk", anchor=False)


def asked() -> str:
    """Return the id of the customer; the address keeps it, so that a link leads back."""
    given = st.text_input(
        "Customer", value=st.query_params.get("customer", ""), placeholder="The whole id", key="customer-id"
    ).strip()
    if given:
        st.query_params["customer"] = given
    return given


@panel
def profile(customer: str) -> None:
    """Show what Redis holds about the customer."""
    told = stores().profile(customer)
    if told is None:
        st.caption(
            ":material/schedule: No live profile: silent for longer than `redis.profile_ttl_seconds`, "
            "or not known."
        )
        return
    payments, flagged, blocked, last, highest = st.columns(5)
    payments.metric(
        "Payments", count(told.transactions), help="Since the profile began; a lower bound under load."
    )
    flagged.metric(
        "Flagged",
        count(told.flagged),
        share(told.flagged / max(1, told.transactions)),
        delta_color="off",
        delta_arrow="off",
    )
    blocked.metric("Blocked", count(told.blocked))
    last.metric(
        "Last score", "-" if told.last_score is None else f"{told.last_score:.3f}",
        chart_data=list(told.scores) if len(told.scores) > 1 else None,
    )  # fmt: skip
    highest.metric("Highest recent score", f"{max(told.scores):.3f}" if told.scores else "-")
    amount = money(told.last_amount_minor, told.last_currency, WORTH.reference)
    where = ", ".join(filter(None, (told.last_merchant_id, told.last_country)))
    st.caption(
        f"Last seen {instant(told.last_seen_micros, zone())}: {ACTIONS[told.last_action]} {amount}"
        + (f" at {where}" if where else "")
        + (
            f". Last reasons: {', '.join(each.replace('_', ' ') for each in told.last_reasons)}."
            if told.last_reasons
            else "."
        )
    )


@guarded
def stored(customer: str) -> None:
    """Show what PostgreSQL holds about the customer."""
    page = stores().page(Filter(customer_id=customer), HISTORY)
    told = page.transactions
    if not told:
        more = " yet: the search ran out of time" if page.next else ""
        st.info(f"No stored payment of this customer was found{more}.", icon=":material/search_off:")
        return
    trend, windows, means, alerts = st.tabs(["Trend", "Windows", "What is used", "Alerts and labels"])
    with trend:
        st.altair_chart(scores(told, WORTH), width="stretch")
        st.altair_chart(spend(told, WORTH), width="stretch")
        first = instant(told[-1].event_time_micros, zone())
        more = (
            "; the search ran out of time, so there may be more" if page.next and len(told) < HISTORY else ""
        )
        st.caption(f"The newest {count(len(told))} payments, since {first}{more}.")
    with windows:
        live_windows(told)
    with means:
        what_is_used(told)
    with alerts:
        alerts_and_labels(customer, told)


def live_windows(told: tuple[StoredTransaction, ...]) -> None:
    """Show the windows as the newest decision with recorded features saw them."""
    for each in told[:10]:
        found = stores().find(each.transaction_id, each.event_time_micros)
        if found is not None and found.features is not None:
            break
    else:
        st.info(
            "None of the newest ten decisions has its features recorded: set `engine.features` to `all` "
            "to see the windows here.", icon=":material/toggle_off:",
        )  # fmt: skip
        return
    values = found.features
    rows = [
        {
            "window": feature["window"],
            "feature": feature["name"].removeprefix("customer_").replace("_", " "),
            "value": "missing" if (value := values.get(feature["name"])) is None else f"{value:,.6g}",
            "unit": feature["unit"],
            "meaning": feature["meaning"],
        }
        for feature in features.catalogue().iter_rows(named=True)
        if feature["entity"] == "customer" and feature["group"] not in ("transaction", "place_time")
    ]
    st.dataframe(rows, hide_index=True, height=460, column_config={"value": RIGHT})
    at = instant(found.event_time_micros, zone())
    st.caption(f"As the decision on {code(found.transaction_id)} saw them, {at}.")


def what_is_used(told: tuple[StoredTransaction, ...]) -> None:
    """Show devices, merchants, countries, cards and addresses."""
    places = st.columns(2, gap="medium")
    for number, (kind, name) in enumerate(KINDS.items()):
        found = used(told, kind, WORTH)
        with places[number % 2]:
            st.markdown(f"**{name}** · {count(len(found))}")
            if not found:
                st.caption("No payment says.")
                continue
            st.dataframe(
                [
                    {
                        name.lower(): each.name,
                        "payments": each.payments,
                        "flagged": each.flagged,
                        "spend": money(round(each.worth_minor), None, WORTH.reference),
                        "last": ago(time.time() - each.last_micros / 1e6),
                    }
                    for each in found
                ],
                hide_index=True, height=min(250, 38 + 35 * len(found)),
                column_config={"spend": RIGHT, "last": RIGHT},
            )  # fmt: skip
    st.caption(f"Of the newest {count(len(told))} payments.")


def alerts_and_labels(customer: str, told: tuple[StoredTransaction, ...]) -> None:
    """Show the alerts of the customer with what became of them, and labels of other payments."""
    flagged = stores().alerts_of(customer, ALERTS)
    ids = [each.transaction_id for each in flagged]
    states = stores().queued(ids)
    known = stores().labels_of([*ids, *(each.transaction_id for each in told)])
    frauds = sum(label.is_fraud for label in known.values())
    open_alerts = sum(each.state.verdict is None for each in states.values())
    link = f"[work on the open ones](./alerts?customer={quote(customer, safe='')})"
    st.markdown(
        f"**{count(len(flagged))}** alerts, **{count(open_alerts)}** without a verdict · "
        f"**{count(frauds)}** known frauds · {link}"
    )
    others = [each for each in told if each.transaction_id in known and each.transaction_id not in states]
    rows = [
        {
            "when": instant(each.event_time_micros, zone()),
            "action": ACTIONS[each.action],
            "amount": money(each.amount_minor, each.currency, WORTH.reference),
            "score": each.score,
            "merchant": each.merchant_id,
            "state": case.state_of(states[each.transaction_id])
            if each.transaction_id in states
            else "approved",
            "label": VERDICT_NAMES["fraud" if label.is_fraud else "legitimate"]
            if (label := known.get(each.transaction_id))
            else "",
            "kind": (label.typology if label else None) or "",
            "transaction": each.transaction_id,
        }
        for each in sorted([*flagged, *others], key=lambda each: -each.event_time_micros)
    ]
    if not rows:
        st.success("No alert and no label.", icon=":material/done_all:")
        return
    frame = pd.DataFrame(rows)
    st.dataframe(frame, hide_index=True, column_config={"amount": RIGHT, "score": SCORE})
    st.download_button(
        "CSV",
        lambda: tables.as_csv(frame),
        f"{customer}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


wanted = asked()
if wanted:
    profile(wanted)
    st.fragment(stored, run_every=SLOW_SECONDS if st.session_state.get(LIVE, True) else None)(wanted)
else:
    st.info("Whose risk? Enter an id, or come here from an alert.", icon=":material/person_search:")
