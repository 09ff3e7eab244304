"""The files of `report/`: `report.html` for people, `report.json` for programs, `README.md` as model card."""

from __future__ import annotations

import json
from typing import Any

from fraudengine.training.report_page import page, percent

__all__ = ["render"]


def render(content: dict[str, Any], measured: dict[str, Any]) -> dict[str, bytes]:
    """Return the report's files by their path in the bundle.

    Parameters
    ----------
    content
        The manifest's content, files excepted.
    measured
        What `measure.measure` returned.

    """
    whole = {"content": content, **measured}
    return {
        "report/report.html": page(content, measured).encode(),
        "report/report.json": (json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(),
        "report/README.md": _card(content, measured).encode(),
    }


def _card(content: dict[str, Any], measured: dict[str, Any]) -> str:
    """Return the model card."""
    windows, policy = content["windows"], content["policy"]
    final = windows["final"]
    lines = [
        "# Model card",
        "",
        "**What it does.** Scores a payment for fraud and recommends approve, review or block. "
        + (
            "The score is a calibrated probability of fraud."
            if content["stage"] == "booster"
            else "It was trained without labels: the score says how unusual a payment is, it is not a "
            "probability, and it never blocks."
        ),
        "",
        f"**Trained on** {final['transactions']:,} transactions from {final['first']} to {final['last']}, "
        f"with the labels known at {windows['train_until']}.",
        "",
        "**Model.** "
        + (
            "XGBoost over the feature catalogue and the anomaly of an isolation forest."
            if content["stage"] == "booster"
            else "Isolation forest."
        ),
        "",
        f"**Policy.** Review from {policy['review_from']:.6g}, block from {policy['block_from']:.6g} "
        "(a threshold above 1 is never reached).",
        "",
        *_card_figures(measured["figures"]),
        "**Limits.** The figures hold for this history and its label delay. Label-driven features need "
        "fraud reports to keep arriving: detection falls when they stop or come later. Watch the drift "
        "column of the report and train again when features or fraud patterns change. Not for decisions "
        "about people other than on payments.",
        "",
        f"**Reproduce.** Seed {content['seed']}; options and versions are in `../manifest.json`; the "
        "same history, options and versions give the same bundle hash.",
        "",
    ]
    return "\n".join(lines)


def _card_figures(figures: dict[str, Any]) -> list[str]:
    if not figures:
        return []
    lines = [
        "| window | transactions | frauds | AUC | AP | detected | at false positives |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        auc, precision = row["roc_auc"]["value"], row["average_precision"]["value"]
        detected = percent(row["recall_at_fpr"]["value"])
        lines.append(
            f"| {name} | {row['transactions']:,} | {row['frauds']:,} | {auc:.3f} | {precision:.3f} "
            f"| {detected} | {percent(row['fpr'])} |"
        )
    return [*lines, ""]
