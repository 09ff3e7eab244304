"""Plots and page: well-formed, escaped, and right where they can be checked by number."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from fraudengine.training.report_page import percent
from fraudengine.training.report_plots import Line, bars, lines


def test_plots_are_well_formed_and_escape_their_texts() -> None:
    plot = lines("<b>&", "x < y", "y & z", [Line([(0, 0), (0.5, 0.5), (1, 1)], "model", dots=True)])
    root = ElementTree.fromstring(plot)
    assert root.find("title").text == "<b>&"  # type: ignore[union-attr]  # found or the test fails
    assert len(root.findall("circle")) == 3


def test_points_lie_where_their_values_say() -> None:
    plot = lines("t", "x", "y", [Line([(0, 0), (1, 1)], "model")])
    (path,) = re.findall(r'<polyline class="model" points="([^"]+)"', plot)
    (x0, y0), (x1, y1) = (tuple(map(float, point.split(","))) for point in path.split())
    assert x0 < x1
    assert y0 > y1
    half = lines("t", "x", "y", [Line([(0.25, 0.25)], "model")], maximum=0.5)
    (point,) = re.findall(r'points="([^"]+)"', half)
    x, y = map(float, point.split(","))
    assert abs(x - (x0 + x1) / 2) < 0.1
    assert abs(y - (y0 + y1) / 2) < 0.1


def test_bars_show_single_transactions_and_only_marks_inside() -> None:
    plot = bars("t", "score", [([1000, 0, 1], "genuine"), ([0, 0, 1], "fraud")], [0.5, 1.0000001])
    heights = [float(height) for height in re.findall(r'<rect[^>]+height="([0-9.]+)"', plot)]
    assert len(heights) == 3
    assert min(heights) > 1
    assert heights[0] > 10 * heights[1]
    assert plot.count('class="mark"') == 1


def test_an_empty_histogram_is_still_a_plot() -> None:
    assert ElementTree.fromstring(bars("t", "score", [([0, 0], "genuine")], [])).tag == "svg"


def test_percent_shows_missing_figures_as_a_dash() -> None:
    assert percent(0.12345) == "12.3%"
    assert percent(None) == "-"
