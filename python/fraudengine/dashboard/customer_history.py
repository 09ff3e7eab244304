"""What a customer's stored payments add up to: devices, merchants, countries, scores and spend. Pure.

Amounts of several currencies are added by their worth in the reference currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import altair as alt
import pandas as pd

from fraudengine.dashboard.charts import ACTION_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.money import Worth
    from fraudengine.stores import StoredTransaction

__all__ = ["Used", "scores", "spend", "used"]

Kind = Literal["device_id", "merchant_id", "country", "card_id", "ip_address"]
_SHAPES = {"approve": "circle", "review": "diamond", "block": "cross"}


@dataclass(frozen=True, slots=True)
class Used:
    """A device, merchant, country, card or address of a customer.

    Attributes
    ----------
    name
        Which.
    payments, flagged
        Decided, and of these not approved.
    worth_minor
        Their amounts, minor units of the reference currency.
    first_micros, last_micros
        Event times of the first and the last one that was read.

    """

    name: str
    payments: int
    flagged: int
    worth_minor: float
    first_micros: int
    last_micros: int


def used(told: Sequence[StoredTransaction], kind: Kind, worth: Worth) -> list[Used]:
    """Return what a customer used, the most used first; payments that do not say are left out."""
    groups: dict[str, list[StoredTransaction]] = {}
    for each in told:
        name = getattr(each, kind)
        if name is not None:
            groups.setdefault(name, []).append(each)
    found = [
        Used(
            name=name,
            payments=len(group),
            flagged=sum(each.action != "approve" for each in group),
            worth_minor=sum(_worth(each, worth) for each in group),
            first_micros=min(each.event_time_micros for each in group),
            last_micros=max(each.event_time_micros for each in group),
        )
        for name, group in groups.items()
    ]
    return sorted(found, key=lambda each: (-each.payments, each.name))


def scores(told: Sequence[StoredTransaction], worth: Worth) -> alt.Chart:
    """Return the scores over time, told apart by colour and shape of their action."""
    rows = _table(told, worth)
    names = list(ACTION_COLOURS)
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=alt.X("time:T", title=None),
            y=alt.Y("score:Q", title="score", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "action:N", title=None, legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=names, range=list(ACTION_COLOURS.values())),
            ),
            shape=alt.Shape(
                "action:N", title=None, scale=alt.Scale(domain=names, range=[_SHAPES[each] for each in names])
            ),
            tooltip=["time:T", "action", alt.Tooltip("score:Q", format=".3f"), "merchant", "amount"],
        )
        .properties(height=220)
    )  # fmt: skip
    return chart


def spend(told: Sequence[StoredTransaction], worth: Worth) -> alt.Chart:
    """Return the money of each day by action."""
    rows = _table(told, worth)
    names = list(ACTION_COLOURS)
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("yearmonthdate(time):T", title=None),
            y=alt.Y("sum(amount):Q", title=f"spend a day, {worth.reference}"),
            color=alt.Color(
                "action:N", title=None, legend=None,
                scale=alt.Scale(domain=names, range=list(ACTION_COLOURS.values())),
            ),
            tooltip=["yearmonthdate(time):T", "action", alt.Tooltip("sum(amount):Q", format=",.2f")],
        )
        .properties(height=160)
    )  # fmt: skip
    return chart


def _table(told: Sequence[StoredTransaction], worth: Worth) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.to_datetime([each.event_time_micros for each in told], unit="us", utc=True),
            "action": [each.action for each in told],
            "score": [each.score for each in told],
            "merchant": [each.merchant_id for each in told],
            "amount": [_worth(each, worth) / worth.minor_of_major for each in told],
        }
    )


def _worth(each: StoredTransaction, worth: Worth) -> float:
    return each.amount_minor * (worth.factor(each.currency) or 0.0)
