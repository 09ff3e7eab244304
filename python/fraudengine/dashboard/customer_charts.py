"""A customer's recent payments: on a time line, and on a map that needs no network. Pure.

The outlines of countries are those of Natural Earth (public domain), 1:110 million, as TopoJSON of the
package world-atlas.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

from fraudengine.dashboard.charts import ACTION_COLOURS, POWERS
from fraudengine.dashboard.text import minor_of_major

if TYPE_CHECKING:
    from fraudengine.stores import Reason, StoredTransaction

__all__ = ["map_chart", "reasons_chart", "timeline"]

_HEIGHT: Final = 300
_SHAPES: Final = {"approve": "circle", "review": "diamond", "block": "cross"}
_SPAN_DEGREES_MIN: Final = 14.0
_WORLD_PIXELS: Final = 360.0
"""Width of a map of the whole world at scale 57.3: one pixel a degree."""
_MAP_PIXELS: Final = 560.0


def timeline(
    told: Sequence[StoredTransaction], chosen: str, reference: str
) -> alt.LayerChart | alt.FacetChart:
    """Return amounts over time, coloured by action, with one transaction marked."""
    table = _table(told, chosen, reference)
    base = alt.Chart(table, height=_HEIGHT).encode(
        x=alt.X("time:T", axis=alt.Axis(title=None, grid=False, labelOverlap=True)),
        y=alt.Y(
            "amount:Q",
            title="amount",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(format=",~s", values=POWERS),
        ),
    )
    points = base.mark_point(filled=True, size=70, opacity=0.9).encode(
        color=_by_action(), shape=_shape(), tooltip=_tips()
    )
    return alt.layer(points, _ring(base))


def map_chart(told: Sequence[StoredTransaction], chosen: str, reference: str) -> dict[str, Any] | None:
    """Return where the payments were made, as a specification of Vega-Lite; `None`: no place is known."""
    table = _table([each for each in told if each.latitude is not None], chosen, reference)
    if table.empty:
        return None
    west, east = float(table["longitude"].min()), float(table["longitude"].max())
    south, north = float(table["latitude"].min()), float(table["latitude"].max())
    span = max(_SPAN_DEGREES_MIN, (east - west) * 1.3, (north - south) * 1.3 * _MAP_PIXELS / _HEIGHT)
    projection: dict[str, Any] = {
        "type": "equirectangular",
        "center": [(west + east) / 2, (south + north) / 2],
        "scale": 57.3 * _MAP_PIXELS / min(span, _WORLD_PIXELS),
    }
    outlines = alt.Chart(alt.NamedData("countries")).mark_geoshape(
        fill="#8A97A6", fillOpacity=0.22, stroke="#8A97A6", strokeWidth=0.6, clip=True
    )
    lines = alt.Chart(alt.graticule(step=[10, 10])).mark_geoshape(
        filled=False, stroke="#8A97A6", strokeWidth=0.3, strokeOpacity=0.5, clip=True
    )
    base = alt.Chart(table).encode(longitude="longitude:Q", latitude="latitude:Q")
    points = base.mark_point(filled=True, size=80, opacity=0.85, clip=True).encode(
        color=_by_action(), shape=_shape(), tooltip=_tips()
    )
    layers = alt.layer(lines, outlines, points, _ring(base), height=_HEIGHT).project(**projection)
    specification: dict[str, Any] = layers.to_dict()
    # The outlines come last: Altair would copy and check each of their 10,000 points several times.
    shape = {"type": "topojson", "feature": "countries"}
    specification["layer"][1]["data"] = {"values": _countries(), "format": shape}
    return specification


def reasons_chart(reasons: Sequence[Reason], labels: Sequence[str]) -> alt.Chart:
    """Return the contributions of features to the score as bars, the strongest first.

    Parameters
    ----------
    reasons
        What raised (or lowered) the score.
    labels
        How each is called, in the same order.

    """
    table = pd.DataFrame(
        {
            "feature": list(labels),
            "contribution": [each.contribution for each in reasons],
            "raises": ["raises the score" if each.contribution > 0 else "lowers it" for each in reasons],
        }
    )
    colours = alt.Scale(
        domain=["raises the score", "lowers it"], range=[ACTION_COLOURS["block"], ACTION_COLOURS["approve"]]
    )
    made: alt.Chart = (
        alt.Chart(table, height=max(120, 46 * len(table)))
        .mark_bar(cornerRadiusEnd=3, height=22)
        .encode(
            x=alt.X("contribution:Q", title="contribution, log odds", axis=alt.Axis(tickCount=5)),
            y=alt.Y(
                "feature:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, ticks=False, domain=False)
            ),
            color=alt.Color("raises:N", scale=colours, legend=None),
            tooltip=["feature:N", alt.Tooltip("contribution:Q", format="+.3f"), "raises:N"],
        )
    )
    return made


def _table(told: Sequence[StoredTransaction], chosen: str, reference: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.to_datetime([each.event_time_micros for each in told], unit="us", utc=True),
            # On a scale of powers, nothing is as little as the smallest coin.
            "amount": [
                max(1, each.amount_minor) / minor_of_major(each.currency or reference) for each in told
            ],
            "currency": [each.currency or reference for each in told],
            "action": [each.action for each in told],
            "score": [each.score for each in told],
            "merchant": [each.merchant_id or "" for each in told],
            "country": [each.country or "" for each in told],
            "latitude": [each.latitude for each in told],
            "longitude": [each.longitude for each in told],
            "chosen": [each.transaction_id == chosen for each in told],
        }
    )


def _ring(base: alt.Chart) -> alt.Chart:
    """Return a ring around the chosen transaction."""
    made: alt.Chart = base.transform_filter("datum.chosen").mark_point(
        filled=False, size=320, strokeWidth=2.5, color=ACTION_COLOURS["review"], clip=True
    )
    return made


def _by_action() -> alt.Color:
    names = list(ACTION_COLOURS)
    return alt.Color(
        "action:N",
        scale=alt.Scale(domain=names, range=list(ACTION_COLOURS.values())),
        legend=alt.Legend(title=None, orient="top", direction="horizontal"),
    )


def _shape() -> alt.Shape:
    return alt.Shape(
        "action:N", scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())), legend=None
    )


def _tips() -> list[Any]:
    return [
        alt.Tooltip("time:T", format="%Y-%m-%d %H:%M:%S"),
        alt.Tooltip("amount:Q", format=",.2f"),
        "currency:N",
        "action:N",
        alt.Tooltip("score:Q", format=".3f"),
        "merchant:N",
        "country:N",
    ]


@cache
def _countries() -> dict[str, Any]:
    text = resources.files("fraudengine.dashboard").joinpath("countries.json").read_text(encoding="utf-8")
    told: dict[str, Any] = json.loads(text)
    return told
