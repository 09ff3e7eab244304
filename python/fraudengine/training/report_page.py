"""The report as one HTML page that a stranger can read: the answer first, then how it was reached.

Self-contained: no network, no script. All values from data are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from fraudengine.training.report_plots import Line, bars, lines
from fraudengine.training.report_style import STYLE

__all__ = ["page"]

_WINDOW_NAMES: Final = {
    "test_new_customers": "test, customers with a known fraud left out",
    "test": "test, everybody",
    "validation": "validation (first round)",
}

_FIGURES: Final = (
    ("recall_at_fpr", "frauds detected", "share"),
    ("precision_at_fpr", "alerts that are fraud", "share"),
    ("money_caught_share", "fraud money in the daily alerts", "share"),
    ("card_precision", "card precision of the daily alerts", "share"),
    ("roc_auc", "AUC ROC", "number"),
    ("average_precision", "average precision", "number"),
)


def page(content: dict[str, Any], measured: dict[str, Any]) -> str:
    """Return the HTML of the report.

    Parameters
    ----------
    content
        The manifest's content.
    measured
        What `measure.measure` returned.

    """
    body = [
        _head(content, measured),
        _plots(content, measured),
        _figure_table(measured["figures"]),
        _typology_table(measured["typologies"]),
        _feature_table(measured["features"]),
        _recipe(content),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fraud model report</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as percent text, or a dash."""
    return "-" if value is None else f"{100 * value:.{digits}f}%"


def _head(content: dict[str, Any], measured: dict[str, Any]) -> str:
    windows = content["windows"]
    until = escape(windows["train_until"][:16].replace("T", " "))
    intro = f"<h1>Fraud model report</h1><p class='soft'>Trained on what was known on {until} UTC.</p>"
    shown = measured["shown"]
    if shown is None:
        return intro + (
            "<p>There were not enough labelled frauds to learn from: this bundle scores with the isolation "
            "forest alone. Its score says how unusual a transaction is; it is not a probability of fraud.</p>"
        )
    main = measured["figures"][shown]
    fpr = percent(main["fpr"])
    tiles = [
        (main["recall_at_fpr"], percent, f"of frauds detected at {fpr} false alarms"),
        (main["money_caught_share"], percent, f"of fraud money in {main['alerts_per_day']} alerts a day"),
        (main["precision_at_fpr"], percent, "of those alerts are fraud"),
        (main["average_precision"], _number, "average precision"),
    ]
    cells = "".join(
        f"<div class='tile'><b>{show(value['value'])}</b>{escape(text)}<br>"
        f"<span>95% interval {show(value['low'])} to {show(value['high'])}</span></div>"
        for value, show, text in tiles
    )
    said = "the days after training" if shown == "test" else "days held out before the end of training"
    return (
        f"{intro}<p>Measured on {said}: {main['transactions']:,} transactions, {main['frauds']:,} of them "
        f"fraud ({percent(main['frauds'] / main['transactions'], 2)}).</p><div class='tiles'>{cells}</div>"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plots(content: dict[str, Any], measured: dict[str, Any]) -> str:
    curves = measured["curves"]
    if curves is None:
        return ""
    base, policy = curves["base_rate"], content["policy"]
    precision = [
        Line([(0, base), (1, base)], "chance"),
        Line([*_zip(curves["recall"], curves["precision"])], "model"),
    ]
    roc = [Line([(0, 0), (1, 1)], "chance"), Line([(0, 0), *_zip(curves["fpr"], curves["recall"])], "model")]
    stated = [(point["stated"], point["observed"]) for point in curves["calibration"]]
    reliability = [Line([(0, 0), (1, 1)], "chance"), Line(stated, "model", dots=True)]
    histogram = curves["histogram"]
    both = [(histogram["genuine"], "genuine"), (histogram["fraud"], "fraud")]
    marks = [policy["review_from"], policy["block_from"]]
    cards = [
        ("Precision and recall", "How clean the alerts are (up) when this share of frauds is found (right).",
         lines("Precision and recall", "recall", "precision", precision)),
        ("ROC", "Share of frauds found against share of genuine transactions disturbed.",
         lines("ROC", "false positive rate", "recall", roc)),
        ("Calibration", "A dot per tenth of the scores. On the dashed line, 30% stated means 30% fraud.",
         lines("Calibration", "stated probability", "observed share", reliability)),
        ("Scores", "Logarithmic. Dashed: where review and block begin. <span class='key'>"
         "<i style='background:var(--good)'></i>genuine<i style='background:var(--bad)'></i>fraud</span>",
         bars("Scores", "score", both, marks)),
    ]  # fmt: skip
    shown = "".join(
        f"<div class='card'><h3>{name}</h3>{plot}<p>{text}</p></div>" for name, text, plot in cards
    )
    return f"<div class='plots'>{shown}</div>"


def _zip(x: Sequence[float], y: Sequence[float]) -> Iterable[tuple[float, float]]:
    return zip(x, y, strict=True)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int) -> str:
    """Return a table; cells are escaped here, columns from `numbers_from` on are right-aligned."""

    def cell(tag: str, index: int, text: str) -> str:
        kind = " class='n'" if index >= numbers_from else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", index, text) for index, text in enumerate(header))
    body = "".join(f"<tr>{''.join(cell('td', i, text) for i, text in enumerate(row))}</tr>" for row in rows)
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>"


def _figure_table(figures: dict[str, Any]) -> str:
    if not figures:
        return ""
    windows = [name for name in _WINDOW_NAMES if name in figures]

    def shown(value: dict[str, float | None], kind: str) -> str:
        show = percent if kind == "share" else _number
        return f"{show(value['value'])} ({show(value['low'])} to {show(value['high'])})"

    rows = [
        [
            "transactions (frauds)",
            *(f"{figures[w]['transactions']:,} ({figures[w]['frauds']:,})" for w in windows),
        ]
    ]
    rows += [[label, *(shown(figures[w][name], kind) for w in windows)] for name, label, kind in _FIGURES]
    rows.append(["Brier score", *(f"{figures[w]['brier']:.5f}" for w in windows)])
    rows.append(["expected calibration error", *(f"{figures[w]['calibration_error']:.5f}" for w in windows)])
    first = figures[windows[0]]
    return (
        f"<h2>Figures</h2><p class='soft'>Detection at {percent(first['fpr'])} false positives; alert lists "
        f"of {first['alerts_per_day']} a day. In brackets: 95% bootstrap intervals, by customer or day.</p>"
        + _table(["", *(_WINDOW_NAMES[name] for name in windows)], rows, 1)
    )


def _typology_table(table: list[dict[str, Any]]) -> str:
    if not table:
        return ""
    rows = [
        (row["typology"], f"{row['frauds']:,}", percent(row["found"] / row["frauds"]),
         percent(row["amount_found_minor"] / row["amount_minor"]) if row["amount_minor"] else "-")
        for row in table
    ]  # fmt: skip
    return "<h2>Kinds of fraud</h2>" + _table(["typology", "frauds", "detected", "money detected"], rows, 1)


def _feature_table(table: list[dict[str, Any]]) -> str:
    rows = [
        (row["name"], row["meaning"], row["window"], percent(row["gain"]), percent(row["cover"]),
         percent(row["missing_train"]), percent(row["missing_test"]),
         "-" if row["psi"] is None else f"{row['psi']:.3f}")
        for row in table
    ]  # fmt: skip
    header = [
        "feature",
        "meaning",
        "window",
        "gain",
        "coverage",
        "missing (train)",
        "missing (test)",
        "drift (PSI)",
    ]
    return (
        "<h2>Features</h2><p class='soft'>Gain: share of the booster's improvement. Coverage: share of the "
        "rows its splits decide. Drift: population stability index from training to test; above 0.25 the "
        "feature has changed.</p>" + _table(header, rows, 3)
    )


def _recipe(content: dict[str, Any]) -> str:
    windows = [
        (
            name,
            window["first"][:19].replace("T", " "),
            window["last"][:19].replace("T", " "),
            f"{window['transactions']:,}",
        )
        for name, window in content["windows"].items()
        if isinstance(window, dict)
    ]
    policy = [(name, str(value)) for name, value in content["policy"].items()]
    versions = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    return (
        "<h2>How it was made</h2>"
        + _table(["window", "first transaction (UTC)", "last transaction (UTC)", "transactions"], windows, 3)
        + "<h2>Policy</h2>"
        + _table(["setting", "value"], policy, 1)
        + f"<p class='soft'>Seed {content['seed']}; {escape(versions)}; "
        f"feature catalogue <code>{escape(content['catalogue_hash'])}</code>.</p>"
    )
