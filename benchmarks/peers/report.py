"""The report of a run: losses first, then a table, the versions and the command; and a plot.

The plot is SVG written here: a few bars need no plotting library, and a text file shows in a diff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turns import Figure

OURS = "fraudengine"
"""Contestants whose name begins so are ours; the first of a case is its base."""

BAR, LEFT, WIDTH = 18, 330, 420


@dataclass
class Run:
    """What one topic measured."""

    topic: str
    command: str
    unit: str
    rounds: int
    machine: dict[str, Any]
    versions: dict[str, dict[str, str]]
    figures: list[Figure]
    equal: list[str] = field(default_factory=list)
    """What was compared before timing, and how far apart it was."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that cannot take part, and why."""
    notes: list[str] = field(default_factory=list)
    """What has to be known to read the figures."""
    aims: list[tuple[str, float, float]] = field(default_factory=list)
    """What was aimed at: words, ratio wanted, ratio measured."""


def cases(figures: list[Figure]) -> dict[str, list[Figure]]:
    """Return the figures by case, in their order, ours first."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.case, []).append(figure)
    return {
        case: sorted(each, key=lambda figure: not figure.contestant.startswith(OURS))
        for case, each in found.items()
    }


def losses(run: Run) -> list[str]:
    """Return a sentence for each peer that is faster than us, or less far behind than aimed at."""
    told = []
    for case, (base, *others) in cases(run.figures).items():
        for other in others:
            if other.contestant.startswith(OURS):
                continue
            for how, theirs, ours in (
                ("wall", other.wall_us, base.wall_us),
                ("processor", other.cpu_us, base.cpu_us),
            ):
                if theirs < ours:
                    told.append(
                        f"{case}: {other.contestant} needs {theirs / ours:.2f} of our {how} time "
                        f"({theirs:.3g} against {ours:.3g} us)."
                    )
    told += [
        f"Short of an aim: {words}: {measured:.1f} times, aimed at {wanted:g}."
        for words, wanted, measured in run.aims
        if measured < wanted
    ]
    return told


def markdown(run: Run) -> str:
    """Return the report of a run."""
    lines = [f"## {run.topic}: `{run.command}`", ""]
    lines += [f"- {each}" for each in run.notes]
    lines += [f"- {each}" for each in losses(run)] or ["- No contestant was faster, and no aim was missed."]
    lines += [
        f"- Held: {words}: {measured:.1f} times, aimed at {wanted:g}."
        for words, wanted, measured in run.aims
        if measured >= wanted
    ]
    lines += ["", f"![{run.topic}]({run.topic}.svg)", ""]
    for case, (base, *others) in cases(run.figures).items():
        lines += [
            f"| {case} | wall us per {run.unit} | processor us per {run.unit} | wall, ours = 1 "
            "| processor, ours = 1 |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {each.contestant} | {each.wall_us:.3f} | {each.cpu_us:.3f} "
            f"| {each.wall_us / base.wall_us:.2f} | {each.cpu_us / base.cpu_us:.2f} |"
            for each in (base, *others)
        ]
        lines.append("")
    if run.left_out:
        lines += ["| left out | why |", "| --- | --- |"]
        lines += [f"| {peer} | {why.replace('|', '/')} |" for peer, why in run.left_out.items()]
        lines.append("")
    machine = run.machine
    lines += [
        f"Medians of {run.rounds} rounds, contestants in turn. Compared before: {'; '.join(run.equal)}.",
        "",
        f"{machine['processor']}, {machine['cores']} cores, load average {machine['load_average']} before, "
        f"commit {machine['commit']}, Python {machine['python']}.",
        "Versions: "
        + "; ".join(
            f"{peer}: {', '.join(f'{package} {version}' for package, version in packages.items())}"
            for peer, packages in run.versions.items()
        )
        + ".",
    ]
    return "\n".join(lines) + "\n"


def svg(run: Run) -> str:
    """Return bars of processor time per unit, on a logarithmic scale."""
    values = [each.cpu_us for each in run.figures if each.cpu_us > 0]
    low = 10 ** math.floor(math.log10(min(values)))
    decades = max(1.0, math.log10(max(values) / low))
    parts, y = [], 8
    for case, each in cases(run.figures).items():
        parts.append(f'<text x="8" y="{y + 13}" font-weight="bold">{escape(case)}</text>')
        y += BAR + 2
        for figure in each:
            ours = figure.contestant.startswith(OURS)
            length = max(2.0, math.log10(max(figure.cpu_us, low) / low) / decades * WIDTH)
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(figure.contestant)}</text>',
                f'<rect x="{LEFT}" y="{y + 2}" width="{length:.1f}" height="{BAR - 4}" '
                f'fill="{"#1b7f5c" if ours else "#8a94a6"}"/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{figure.cpu_us:.3g}</text>',
            ]
            y += BAR
        y += 8
    title = f"processor time, us per {run.unit}, logarithmic; shorter is better"
    parts.append(f'<text x="8" y="{y + 13}">{escape(title)}</text>')
    size = f'width="{LEFT + WIDTH + 80}" height="{y + 24}"'
    style = 'font-family="sans-serif" font-size="12" style="background:#ffffff"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"
