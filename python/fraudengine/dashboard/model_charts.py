"""The charts of the page Model; lines are told apart by dashes and shapes too, not by colours alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    from fraudengine.dashboard.thresholds import AtThreshold

__all__ = ["calibration", "precision_and_recall", "thresholds"]

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#8A94A0"
_SHARES = alt.Y("share:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
_NEAR = alt.Tooltip("threshold:Q", format=".4f")
_TOP = alt.Legend(orient="top")


def thresholds(points: list[AtThreshold], chosen: float, now: float) -> alt.LayerChart | alt.FacetChart:
    """Return detection, precision and false positive rate over the threshold, with two thresholds marked."""
    names = {"detection": "detection rate", "precision": "precision", "false_positives": "false positives"}
    rows = pd.DataFrame(
        [
            {"threshold": each.threshold, "share": getattr(each, field), "figure": name}
            for each in points
            for field, name in names.items()
        ]
    )
    colours = alt.Scale(domain=list(names.values()), range=[BLUE, GREY, ORANGE])
    lines = (
        alt.Chart(rows)
        .mark_line(clip=True)
        .encode(
            x=alt.X("threshold:Q", title="threshold", scale=alt.Scale(domain=[0, 1])),
            y=_SHARES,
            color=alt.Color("figure:N", title=None, scale=colours, legend=_TOP),
            strokeDash=alt.StrokeDash("figure:N", legend=None),
            tooltip=[
                "figure",
                alt.Tooltip("threshold:Q", format=".3f"),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
    )
    marks = pd.DataFrame({"threshold": [chosen, now], "which": ["chosen", "in force"]})
    rules = (
        alt.Chart(marks)
        .mark_rule(color=GREY, strokeWidth=2)
        .encode(
            x="threshold:Q",
            strokeDash=alt.StrokeDash("which:N", legend=None),
            tooltip=["which", _NEAR],
        )
    )
    both: alt.LayerChart | alt.FacetChart = alt.layer(lines, rules)
    told: alt.LayerChart | alt.FacetChart = both.resolve_scale(strokeDash="independent").properties(
        height=260
    )
    return told


def precision_and_recall(days: pd.DataFrame) -> alt.Chart:
    """Return precision and recall by day; `days` has both columns, and `day`."""
    rows = days.melt("day", ["precision", "recall"], "figure", "share").dropna()
    rows["day"] = pd.to_datetime(rows["day"])
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_line(point=True)
        .encode(
            x=alt.X("day:T", title=None),
            y=_SHARES,
            color=alt.Color("figure:N", title=None, scale=alt.Scale(range=[ORANGE, BLUE]), legend=_TOP),
            shape=alt.Shape("figure:N", title=None, legend=_TOP),
            tooltip=["day:T", "figure", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=240)
    )
    return chart


def calibration(points: list[dict[str, float]]) -> alt.LayerChart | alt.FacetChart:
    """Return the share of frauds over the mean score; on the dashed line a score is a probability."""
    axis = alt.Scale(domain=[0, 1])
    x = alt.X("stated:Q", title="mean score", scale=axis)
    y = alt.Y("observed:Q", title="share of frauds", scale=axis)
    ideal = pd.DataFrame({"stated": [0, 1], "observed": [0, 1]})
    line = alt.Chart(ideal).mark_line(color=GREY, strokeDash=[4, 4]).encode(x=x, y=y)
    dots = (
        alt.Chart(pd.DataFrame(points))
        .mark_line(color=BLUE, point=alt.OverlayMarkDef(size=70, color=BLUE))
        .encode(x=x, y=y, tooltip=["stated", "observed"])
    )
    return alt.layer(line, dots).properties(height=300)
