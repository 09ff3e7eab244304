"""How good a bundle was on time that it had not seen: its own report, for the page Model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from fraudengine.dashboard import model_charts

if TYPE_CHECKING:
    from fraudengine.bundle import Bundle

__all__ = ["show"]


def show(bundle: Bundle) -> None:
    """Show figures and calibration of a bundle's training, and its report to take away."""
    told = json.loads(bundle.file("report/report.json").read_bytes())
    if not told["figures"]:
        st.info("Trained without labels: there is nothing to evaluate.", icon=":material/search_off:")
        return

    rows = [
        {
            "window": name.replace("_", " "),
            "transactions": row["transactions"],
            "frauds": row["frauds"],
            "AUC": _interval(row["roc_auc"]),
            "average precision": _interval(row["average_precision"]),
            f"detection at {row['fpr']:.1%} false positives": _interval(row["recall_at_fpr"]),
            "Brier": f"{row['brier']:.5f}",
        }
        for name, row in told["figures"].items()
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="localized") for name in ("transactions", "frauds")
        },
    )
    st.caption("Windows of time that the model had not seen; 95% intervals by customer.")
    st.altair_chart(model_charts.calibration(told["curves"]["calibration"]), width="stretch")
    st.caption(
        f"Calibration on the window *{told['shown']}*: on the line a score of 0.3 means three frauds in ten."
    )
    st.download_button(
        "Report (HTML)", bundle.file("report/report.html").read_bytes(), "report.html", "text/html",
        icon=":material/download:",
    )  # fmt: skip


def _interval(figure: dict[str, float | None], digits: int = 3) -> str:
    """Return a figure with its confidence interval."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    around = "" if low is None or high is None else f"  ({low:.{digits}f} to {high:.{digits}f})"
    return f"{value:.{digits}f}{around}"
