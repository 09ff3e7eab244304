"""Verdicts as an analyst gives them: the buttons, what they do, and what the analyst is told afterwards.

The buttons act on ids that stand on the page, never on a row of a table that may have moved. Nothing is told
as done that is not in the topic, the alert and the audit; whoever may only look sees the buttons disabled.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from fraudengine.dashboard.context import verdicts
from fraudengine.dashboard.login import user
from fraudengine.dashboard.text import count
from fraudengine.errors import FraudEngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.verdicts import Outcome

__all__ = ["VERDICT_NAMES", "buttons", "given", "told"]

VERDICT_NAMES = {"fraud": "✕ fraud", "legitimate": "✓ genuine"}
"""Verdicts as they are shown."""

_SNOOZES = {"1 hour": 1, "4 hours": 4, "1 day": 24, "3 days": 72, "1 week": 168}
_TYPOLOGIES = (
    "account_takeover",
    "card_testing",
    "friendly_fraud",
    "lost_or_stolen",
    "merchant_fraud",
    "mule",
    "synthetic_identity",
)
_DONE, _PROBLEM, _GIVEN = "verdict_done", "verdict_problem", "verdicts_given"


def buttons(ids: Sequence[str], key: str, *, many: bool = False) -> None:
    """Show note, kind of fraud and the three buttons for these transactions.

    Parameters
    ----------
    ids
        What they act on.
    key
        Of the widgets; equal as long as the ids are.
    many
        Ask once more before a verdict.

    """
    off = not user().may_judge or not ids
    st.text_area(
        "Note",
        key=f"{key}-note",
        placeholder="What did you find out? Kept in the audit.",
        height=80,
        disabled=off,
    )
    kind, nap = st.columns(2)
    kind.selectbox(
        "Kind of fraud",
        _TYPOLOGIES,
        index=None,
        key=f"{key}-typology",
        placeholder="Not known",
        accept_new_options=True,
        disabled=off,
        format_func=lambda name: name.replace("_", " "),
    )
    nap.selectbox("Snooze for", list(_SNOOZES), index=1, key=f"{key}-nap", disabled=off)
    if many:
        off = not st.checkbox(f"Yes, all {count(len(ids))}", key=f"{key}-sure", disabled=off) or off
    fraud, genuine, later = st.columns(3)
    fraud.button(
        "Fraud", icon=":material/gpp_bad:", type="primary", key=f"{key}-fraud", disabled=off, width="stretch",
        on_click=_decide, args=(list(ids), key), kwargs={"is_fraud": True},
    )  # fmt: skip
    genuine.button(
        "Genuine", icon=":material/verified_user:", key=f"{key}-genuine", disabled=off, width="stretch",
        on_click=_decide, args=(list(ids), key), kwargs={"is_fraud": False},
    )  # fmt: skip
    later.button(
        "Snooze", icon=":material/snooze:", key=f"{key}-snooze", disabled=off, width="stretch",
        on_click=_snooze, args=(list(ids), key),
    )  # fmt: skip
    if not user().may_judge:
        st.caption(":material/visibility: You are a viewer: verdicts are given by analysts.")


def given() -> int:
    """Return how many verdicts this session has given; what was picked before one is picked no more."""
    return int(st.session_state.get(_GIVEN, 0))


def told() -> None:
    """Tell what became of the last click."""
    done = st.session_state.pop(_DONE, None)
    if done:
        st.toast(done, icon=":material/task_alt:")
    problem = st.session_state.get(_PROBLEM)
    if problem:
        with st.container(border=True):
            st.error(
                f"**Not done.** {problem} Nothing is lost: give the verdict again.", icon=":material/error:"
            )
            st.button("Understood", on_click=lambda: st.session_state.pop(_PROBLEM, None), key="verdict-seen")


def _decide(ids: list[str], key: str, *, is_fraud: bool) -> None:
    try:
        outcomes = verdicts().decide(
            ids,
            is_fraud=is_fraud,
            actor=user().name,
            note=_note(key),
            typology=st.session_state.get(f"{key}-typology") if is_fraud else None,
        )
    except FraudEngineError as error:
        st.session_state[_PROBLEM] = f"{error}."
        return
    _tell(outcomes, "fraud" if is_fraud else "genuine", key)


def _snooze(ids: list[str], key: str) -> None:
    name = st.session_state.get(f"{key}-nap", "4 hours")
    until = time.time_ns() // 1_000 + _SNOOZES[name] * 3_600_000_000
    try:
        outcomes = verdicts().snooze(ids, until, actor=user().name, note=_note(key))
    except FraudEngineError as error:
        st.session_state[_PROBLEM] = f"{error}."
        return
    _tell(outcomes, f"snoozed for {name}", key)


def _note(key: str) -> str | None:
    text = str(st.session_state.get(f"{key}-note") or "").strip()
    return text or None


def _tell(outcomes: Sequence[Outcome], what: str, key: str) -> None:
    by_state: dict[str, list[Outcome]] = {}
    for each in outcomes:
        by_state.setdefault(each.state, []).append(each)
    words = [f"{count(len(by_state['done']))} {what}"] if "done" in by_state else []
    words += [f"{count(len(by_state['already']))} had a verdict already"] if "already" in by_state else []
    words += [f"{count(len(by_state['missing']))} not found"] if "missing" in by_state else []
    if words:
        st.session_state[_DONE] = ", ".join(words)
    failed = by_state.get("failed", [])
    if failed:
        st.session_state[_PROBLEM] = f"{count(len(failed))} of {count(len(outcomes))}: {failed[0].reason}."
    else:
        st.session_state.pop(_PROBLEM, None)
        st.session_state[_GIVEN] = given() + 1
        for name in ("note", "typology", "sure"):
            st.session_state.pop(f"{key}-{name}", None)
