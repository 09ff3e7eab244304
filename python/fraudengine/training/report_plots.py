"""Inline SVG plots for the report: no script, no font, no network; readable in print and dark mode.

Colours come from CSS variables of the page. Every plot has a title for screen readers and axis labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "bars", "curve", "lines"]

_WIDTH, _HEIGHT = 430, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44


@dataclass(frozen=True)
class Line:
    """One series: points `(x, y)` inside the axes, a CSS class, and whether each point gets a dot."""

    points: Sequence[tuple[float, float]]
    style: str
    dots: bool = False


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _rule(style: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _text(style: str, x: float, y: float, anchor: str, text: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}'
    return f'<text class="{style}" {place}>{escape(text)}</text>'


def _frame(title: str, x_label: str, y_label: str, x_ticks: list[str], y_ticks: list[str]) -> list[str]:
    """Return the opening of a plot with grid and labels; ticks are spread evenly over the axes."""
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for index, label in enumerate(x_ticks):
        at = _x(index / (len(x_ticks) - 1))
        parts += [_rule("grid", at, at, _y(0), _y(1)), _text("tick", at, _y(0) + 16, "middle", label)]
    for index, label in enumerate(y_ticks):
        at = _y(index / (len(y_ticks) - 1))
        parts += [_rule("grid", _x(0), _x(1), at, at), _text("tick", _x(0) - 7, at + 4, "end", label)]
    middle = (_y(0) + _y(1)) / 2
    turn = f' transform="rotate(-90 13 {middle:.1f})"'
    parts.append(_text("axis", _x(0.5), _HEIGHT - 6, "middle", x_label))
    parts.append(_text("axis", 13, middle, "middle", y_label, turn))
    return parts


def lines(title: str, x_label: str, y_label: str, series: Sequence[Line], *, maximum: float = 1.0) -> str:
    """Draw series over two axes that both run from 0 to `maximum`.

    Parameters
    ----------
    title, x_label, y_label
        Texts; escaped here.
    series
        Drawn in order, the last on top.
    maximum
        Positive end of both axes.

    """
    ticks = [f"{maximum * step / 5:.3g}" for step in range(6)]
    parts = _frame(title, x_label, y_label, ticks, ticks)
    for line in series:
        inside = [(_x(min(x / maximum, 1.0)), _y(min(y / maximum, 1.0))) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in inside)
        parts.append(f'<polyline class="{line.style}" points="{path}"/>')
        if line.dots:
            parts.extend(
                f'<circle class="{line.style} dot" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in inside
            )
    return "".join([*parts, "</svg>"])


def curve(
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: list[str],
    y_ticks: list[str],
    points: Sequence[tuple[float, float]],
) -> str:
    """Draw one series over axes of any scale.

    Parameters
    ----------
    title, x_label, y_label
        Texts; escaped here.
    x_ticks, y_ticks
        At least two labels each, spread evenly over the axis.
    points
        Places `(x, y)` as shares of the axes, 0 to 1.

    """
    parts = _frame(title, x_label, y_label, x_ticks, y_ticks)
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return "".join([*parts, f'<polyline class="model" points="{path}"/>', "</svg>"])


def bars(
    title: str, x_label: str, series: Sequence[tuple[Sequence[int], str]], marks: Sequence[float]
) -> str:
    """Draw histograms over scores 0 to 1 on a logarithmic count axis, with vertical marks.

    Parameters
    ----------
    title, x_label
        Texts.
    series
        Counts per bin and CSS class; all of the same length.
    marks
        Scores 0 to 1 to mark; others are left out.

    """
    highest = max((count for counts, _ in series for count in counts), default=1)
    decades = max(1, math.ceil(math.log10(max(highest, 2))))
    # Short labels: the axis has room for four characters.
    y_ticks = [f"{10 ** (step % 3)}{'kMG'[step // 3 - 1] if step > 2 else ''}" for step in range(decades + 1)]
    parts = _frame(title, x_label, "transactions (log)", [f"{step / 5:.1f}" for step in range(6)], y_ticks)
    for shift, (counts, style) in enumerate(series):
        width = (_x(1) - _x(0)) / len(counts)
        for index, count in enumerate(counts):
            if count:
                # A single transaction must be visible, so the axis starts below 1.
                height = max(math.log10(count) / decades, 0.012) * (_y(0) - _y(1))
                left = _x(0) + index * width + shift * width / len(series)
                parts.append(
                    f'<rect class="{style}" x="{left:.1f}" y="{_y(0) - height:.1f}" '
                    f'width="{width / len(series) - 0.6:.1f}" height="{height:.1f}"/>'
                )
    parts += [_rule("mark", _x(mark), _x(mark), _y(0), _y(1)) for mark in marks if 0 <= mark <= 1]
    return "".join([*parts, "</svg>"])
