"""Feed: the newest transactions, searched and filtered, and each of them in full.

Without conditions the list is the live feed of Redis; with some it is read from PostgreSQL. The address holds
what is open (`?transaction=ID`, `?customer=ID`, `?merchant=ID`), so that it can be sent to a colleague.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import streamlit as st

from fraudengine.dashboard import detail, filters, guarded, panel, reads, rows, settings, stores
from fraudengine.dashboard.text import instant, zone
from fraudengine.stores import FeedEntry, Filter, StoredTransaction

SIZE: Final = 100
# Longest time that one search of a list takes; then it says how far it has come.
SEARCH_SECONDS: Final = 1.5
# How long a transaction that was not found is looked for again.
AGAIN_SECONDS: Final = 15.0
TABLE: Final = "feed_table"
KINDS: Final = ("transaction", "customer", "merchant")


def search() -> None:
    """Open what the box names: a transaction, else a customer's or a merchant's payments."""
    text = str(st.session_state.feed_search).strip()
    st.session_state.feed_search = ""
    if not text:
        return
    _forget()
    if stores().find(text) is not None:
        st.query_params["transaction"] = text
    elif stores().page(Filter(customer_id=text), 1).transactions:
        st.query_params["customer"] = text
    elif stores().page(Filter(merchant_id=text), 1).transactions:
        st.query_params["merchant"] = text
    else:
        st.session_state.feed_nothing = (text, time.monotonic())


def _forget() -> None:
    st.session_state.pop("feed_nothing", None)
    st.session_state.pop("feed_after", None)
    for kind in KINDS:
        st.query_params.pop(kind, None)


def _back() -> None:
    st.query_params.pop("transaction", None)


@guarded
def opened(transaction_id: str) -> None:
    """Show one transaction."""
    st.button("Back to the feed", icon=":material/arrow_back:", on_click=_back)
    found = stores().find(transaction_id, st.session_state.get("feed_times", {}).get(transaction_id))
    if found is None:
        st.info(f"No transaction has the id {transaction_id!r}.")
        return
    detail.show(found)


def listed() -> None:
    """Show the box, the conditions and the list."""
    customer, merchant = st.query_params.get("customer"), st.query_params.get("merchant")
    box, chips = st.columns([2, 3], vertical_alignment="bottom")
    box.text_input(
        "Search",
        key="feed_search",
        placeholder="Transaction, customer or merchant id",
        label_visibility="collapsed",
        on_change=_searched,
        icon=":material/search:",
    )
    with chips:
        wanted = filters.asked(customer, merchant)
    if nothing := st.session_state.get("feed_nothing"):
        unknown(*nothing)
    for kind, value in (("customer", customer), ("merchant", merchant)):
        if value:
            st.button(f"{kind}: {value}", icon=":material/close:", on_click=_forget)
    if filters.is_empty(wanted):
        live()
    else:
        stored(wanted)


def _searched() -> None:
    guarded(search)()


@panel
def unknown(text: str, since: float) -> None:
    """Say that nothing has this id, and look again for a while: who asks at once may be before the writer."""
    if time.monotonic() - since < AGAIN_SECONDS and stores().find(text) is not None:
        _forget()
        st.query_params["transaction"] = text
        st.rerun()
    st.warning(f"No transaction, customer or merchant has the id {text!r}.", icon=":material/search_off:")


@panel
def live() -> None:
    """Show the newest decisions of the feed."""
    entries = reads.newest(SIZE)
    if not entries:
        st.info("Nothing was decided yet. Decisions appear here as the stream takes them.")
        return
    _table(entries)
    st.caption(
        f"The newest {len(entries):,} decisions; a sample when there are many. Filters look at all of them."
    )


@panel
def stored(wanted: Filter) -> None:
    """Show the newest transactions that fulfil the conditions."""
    after = st.session_state.get("feed_after")
    after = after[1] if after and after[0] == wanted else None
    page = stores().page(wanted, SIZE, after, seconds=SEARCH_SECONDS)
    if page.transactions:
        _table(page.transactions)
    elif page.next is None:
        st.info("No transaction fulfils these conditions.")
    if page.next is not None:
        until = instant(page.next[0], zone())
        if len(page.transactions) < SIZE:
            st.caption(f"Searched back to {until}.")
        if st.button("Older", icon=":material/history:"):
            st.session_state.feed_after = (wanted, page.next)
            st.rerun(scope="fragment")
    if after is not None and st.button("Newest", icon=":material/first_page:"):
        del st.session_state["feed_after"]
        st.rerun(scope="fragment")


def _table(told: Sequence[FeedEntry | StoredTransaction]) -> None:
    """Show a list; a click on a row opens it."""
    table = rows.frame(told, zone(), settings().engine.reference_currency)
    here = str(table["time"].iloc[0].tzname())
    event = st.dataframe(
        rows.styled(table),
        hide_index=True,
        height=560,
        key=TABLE,
        on_select="rerun",
        selection_mode="single-cell",
        column_config={
            "time": st.column_config.DatetimeColumn(f"time ({here})", format="YYYY-MM-DD HH:mm:ss"),
            "amount": st.column_config.NumberColumn("amount", width="small"),
            "score": st.column_config.NumberColumn("score", width="small"),
            "reason": st.column_config.TextColumn("strongest reason"),
        },
    )
    if event.selection.cells:
        # What the reader saw and clicked: the list may have moved on since.
        shown = st.session_state.get("feed_shown", [])
        row = event.selection.cells[0][0]
        if row < len(shown):
            transaction_id, at = shown[row]
            st.session_state.feed_times = {transaction_id: at}
            st.query_params["transaction"] = transaction_id
            st.rerun()
    st.session_state.feed_shown = [(each.transaction_id, each.event_time_micros) for each in told]
    st.download_button(
        "CSV", lambda: rows.as_csv(table), "transactions.csv", "text/csv", icon=":material/download:"
    )


st.title("Feed", anchor=False)
if chosen := st.query_params.get("transaction"):
    opened(chosen)
else:
    listed()
