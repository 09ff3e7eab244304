"""Latency by percentile as a picture: the tail gets as much room as the middle.

Imported by who draws only: it shares the plots of training, whose libraries a sending process does not need.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fraudengine.training.report_plots import curve
from fraudengine.training.report_style import STYLE

if TYPE_CHECKING:
    from fraudengine.loadtest.summary import Summary

__all__ = ["percentile_plot"]

_TICKS = ["0%", "90%", "99%", "99.9%", "99.99%"]
_POINTS = 200


def percentile_plot(summary: Summary) -> str:
    """Return an SVG document: latency in ms over the percentile, on a scale of 1 / (1 - percentile)."""
    times_ms = summary.latencies_ns / 1e6
    highest = _round_up(float(times_ms[-1])) if len(times_ms) else 1.0
    points: list[tuple[float, float]] = []
    for share in np.linspace(0.0, 1.0, _POINTS + 1) if len(times_ms) else ():
        beyond = 10.0 ** (-(len(_TICKS) - 1) * share)
        at = min(len(times_ms) - 1, math.ceil((1.0 - beyond) * (len(times_ms) - 1)))
        points.append((float(share), float(times_ms[at]) / highest))
    plan = summary.plan
    loop = f"{plan.concurrency} at once" if plan.rate is None else f"{plan.rate:g} a second"
    title = f"{plan.calls:,} calls, {loop}" + (f", {plan.batch} transactions each" if plan.batch else "")
    y_ticks = [f"{highest * step / 5:.3g}" for step in range(6)]
    drawn = curve(title, "percentile of calls", "latency (ms)", _TICKS, y_ticks, points)
    styled = drawn.replace("<title>", f"<style>{STYLE}</style><title>", 1)
    return '<svg xmlns="http://www.w3.org/2000/svg" ' + styled.removeprefix("<svg ") + "\n"


def _round_up(value: float) -> float:
    """Return the least 1, 2 or 5 times a power of ten that is not below the value."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-3)))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)
