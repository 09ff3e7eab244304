"""Model: what decides now, how good it is by what became known, and whether the world has moved since."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.dashboard import evaluation, evidence, guarded, model_charts, panel, settings, stores
from fraudengine.dashboard import rows as tables
from fraudengine.dashboard.text import count, instant, money, share, zone
from fraudengine.dashboard.thresholds import AtThreshold, Outcomes
from fraudengine.money import Worth

SPANS = {"1 week": 7, "4 weeks": 28, "12 weeks": 84}
NEWEST = 1_000
STABLE, CHANGED = 0.1, 0.25
REFERENCE = settings().engine.reference_currency

st.title("Model", anchor=False)
bundle = evidence.bundle()


def percent(part: float) -> str:
    """Return a share, or a dash where there is none."""
    return "-" if math.isnan(part) else share(part)


@panel
def deciding(known: Bundle | str) -> None:
    """Show which model the newest decisions are of, beside the bundle."""
    models = stores().models(NEWEST)
    ours = int(known.hash[:16], 16) if isinstance(known, Bundle) else None
    left, middle, right = st.columns([1.4, 1, 1])
    if not models:
        left.metric("Deciding now", "-", help="No decision is stored yet.")
    else:
        newest = models[0][0]
        left.metric("Deciding now", "no model" if newest is None else f"{newest:016x}")
        if ours is None:
            left.caption(f"The newest {count(sum(each for _, each in models))} decisions.")
        elif newest == ours:
            left.caption(":material/check_circle: It is the bundle below.")
        else:
            left.caption(":material/warning: It is **another** model than the bundle below.")
        if len(models) > 1:
            left.caption(
                f"{len(models)} models made the newest {count(sum(each for _, each in models))} decisions."
            )
    if isinstance(known, Bundle):
        policy = known.policy()
        middle.metric("Review from", f"{policy['review_from']:.4f}")
        right.metric("Block from", "never" if policy["block_from"] > 1 else f"{policy['block_from']:.4f}")
        final = known.content["windows"]["final"]
        st.caption(
            f"Bundle `{known.hash[:16]}` · {known.content['stage']} · trained on "
            f"{count(final['transactions'])} transactions, {final['first'][:10]} to {final['last'][:10]}"
        )
    else:
        st.info(known, icon=":material/folder_off:")


@guarded
def explorer() -> None:
    """Let a threshold be moved, and say what it would have done."""
    sources = ["Stored decisions, matured", "Held out in training"]
    first, second = st.columns([2, 1])
    source = first.segmented_control("Judged by", sources, default=sources[0], key="t-source") or sources[0]
    found = held_out() if source == sources[1] else matured(second)
    if found is None:
        return
    outcomes, sampled = found
    if not outcomes.frauds:
        st.info(
            "No labelled fraud in this time: there is nothing to judge a threshold by.",
            icon=":material/search_off:",
        )
        return
    now = bundle.policy()["review_from"] if isinstance(bundle, Bundle) else 0.5
    chosen = st.slider("Threshold", 0.0, 1.0, float(min(1.0, now)), 0.001, format="%.3f", key="t-threshold")
    told, before = outcomes.at(chosen), outcomes.at(now)
    metrics(told, before)
    st.caption(f"{sampled} Differences are to the threshold in force, {now:.4f}.")
    grid = np.unique(np.concatenate([np.linspace(0, 1, 101), np.logspace(-4, 0, 60)]))
    st.altair_chart(
        model_charts.thresholds([outcomes.at(float(each)) for each in grid], chosen, now), width="stretch"
    )


def held_out() -> tuple[Outcomes, str] | None:
    """Return the bundle's held-out scores."""
    if not isinstance(bundle, Bundle):
        st.info(bundle, icon=":material/folder_off:")
        return None
    found = evidence.held_out(bundle, bundle.hash)
    if found is None:
        st.info("This bundle keeps no held-out scores (no labels, or trained before bundles did).")
        return None
    outcomes, length = found
    return outcomes, (
        f"{count(outcomes.transactions)} transactions of the validation window, {length:.0f} days, "
        f"{count(outcomes.frauds)} frauds."
    )


def matured(place: DeltaGenerator) -> tuple[Outcomes, str]:
    """Return stored decisions that are old enough."""
    span = place.selectbox("Time", list(SPANS), index=1, key="t-span")
    outcomes, sample = evidence.live(SPANS[span])
    first, last = evidence.matured(SPANS[span])
    words = f"{first} to {last}: {count(outcomes.frauds)} labelled frauds"
    read = int(sample.is_fraud.sum())
    words += f" (read: the newest {count(read)})" if read < sample.frauds_all else ""
    if sample.share < 1:
        words += f", and of about {count(sample.rows_all)} other transactions a sample of {sample.share:.2%}."
    else:
        words += f" among {count(sample.rows_all)} transactions."
    return outcomes, words


def metrics(told: AtThreshold, before: AtThreshold) -> None:
    """Show the figures of a threshold, and how they differ from those of the one in force."""

    def points(now: float, then: float) -> str | None:
        return (
            None
            if math.isnan(now) or math.isnan(then) or now == then
            else f"{(now - then) * 100:+.2f} points"
        )

    def amounts(now: float, then: float) -> str | None:
        return None if now == then else f"{(now - then) / 100:+,.0f}"

    detection, false, precision, alerts = st.columns(4)
    detection.metric("Detection rate", percent(told.detection), points(told.detection, before.detection))
    false.metric(
        "False positive rate", percent(told.false_positives),
        points(told.false_positives, before.false_positives), delta_color="inverse",
    )  # fmt: skip
    precision.metric("Precision", percent(told.precision), points(told.precision, before.precision))
    difference = told.alerts_per_day - before.alerts_per_day
    alerts.metric(
        "Alerts a day",
        count(told.alerts_per_day),
        f"{difference:+,.0f}" if difference else None,
        delta_color="off",
    )
    caught, missed, disturbed = st.columns(3)
    shown: list[tuple[DeltaGenerator, str, float, float, Literal["normal", "inverse"]]] = [
        (caught, "Fraud caught a day", told.caught, before.caught, "normal"),
        (missed, "Fraud missed a day", told.missed, before.missed, "inverse"),
        (disturbed, "Genuine disturbed a day", told.disturbed, before.disturbed, "inverse"),
    ]
    for place, name, now, then, colour in shown:
        place.metric(name, money(round(now), None, REFERENCE), amounts(now, then), delta_color=colour)


@guarded
def by_day() -> None:
    """Show precision and recall of each matured day."""
    span = st.segmented_control("Time", list(SPANS), default="4 weeks", key="d-span") or "4 weeks"
    first, last = evidence.matured(SPANS[span])
    found = evidence.days(SPANS[span])
    if not found:
        st.info(f"No alert and no labelled fraud from {first} to {last}.", icon=":material/search_off:")
        return
    worth = Worth.of(settings().engine)
    rows = pd.DataFrame(
        [
            {
                "day": each.day, "alerts": each.alerts, "frauds": each.frauds, "caught": each.caught,
                "found genuine": each.false_alerts,
                "fraud": each.amount_minor * (worth.factor(each.currency) or 0.0),
                "fraud caught": each.caught_minor * (worth.factor(each.currency) or 0.0),
            }
            for each in found
        ]
    ).groupby("day", as_index=False).sum()  # fmt: skip
    rows["precision"] = rows["caught"] / rows["alerts"].where(rows["alerts"] > 0)
    rows["recall"] = rows["caught"] / rows["frauds"].where(rows["frauds"] > 0)
    st.altair_chart(model_charts.precision_and_recall(rows), width="stretch")
    st.caption(
        f"All alerts and labels of {first} to {last}. A transaction that nobody has reported after "
        f"{settings().dashboard.matured_days} days counts as genuine; younger days are left out."
    )
    for name in ("fraud", "fraud caught"):
        rows[name] = rows[name].map(lambda each: money(round(each), None, REFERENCE))
    shares = st.column_config.NumberColumn(format="percent")
    right = st.column_config.TextColumn(alignment="right")
    counts = st.column_config.NumberColumn(format="localized")
    st.dataframe(
        rows.sort_values("day", ascending=False), hide_index=True,
        column_config={
            "precision": shares, "recall": shares, "fraud": right, "fraud caught": right,
            **dict.fromkeys(("alerts", "frauds", "caught", "found genuine"), counts),
        },
    )  # fmt: skip
    st.download_button(
        "CSV", lambda: tables.as_csv(rows), "quality.csv", "text/csv", icon=":material/download:", key="d-csv"
    )


@guarded
def drift() -> None:
    """Show how far each feature has moved from training."""
    if not isinstance(bundle, Bundle):
        st.info(bundle, icon=":material/folder_off:")
        return
    trained = evidence.reference(bundle, bundle.hash)
    if trained is None:
        st.info("This bundle was trained before bundles kept their distributions: train again to see drift.")
        return
    sample = evidence.drift_sample()
    if not len(sample.values):
        st.info(
            f"Of {count(sample.rows_read)} decisions read none has its features: "
            "set `engine.features` to `all`.",
            icon=":material/search_off:",
        )
        return
    if not sample.approved:
        st.warning(
            "Only flagged decisions carry features here (`engine.features` is `flagged`). They differ from "
            "all transactions by design, so this is no drift: set it to `all`.", icon=":material/filter_alt:",
        )  # fmt: skip
    moved = trained.stability(sample.names, sample.values)
    meaning = {each["name"]: each for each in features.catalogue().iter_rows(named=True)}
    rows = pd.DataFrame(
        [
            {
                "feature": name.replace("_", " "), "PSI": value,
                "state": "● changed" if value > CHANGED else "◐ moved" if value > STABLE else "○ stable",
                "missing now": float(np.isnan(sample.values[:, sample.names.index(name)]).mean()),
                "missing in training": float(trained.shares[name][-1]),
                "meaning": meaning[name]["meaning"],
            }
            for name, value in sorted(moved.items(), key=lambda each: -each[1])
        ]
    )  # fmt: skip
    states = rows["state"].str[2:].value_counts()
    places = st.columns(3)
    for place, name in zip(places, ("changed", "moved", "stable"), strict=True):
        place.metric(name.capitalize(), int(states.get(name, 0)))
    st.dataframe(
        rows, hide_index=True, height=420,
        column_config={
            "PSI": st.column_config.ProgressColumn(
                "PSI", min_value=0, max_value=max(0.5, float(rows["PSI"].max())), format="%.3f",
                help="Population stability index: below 0.1 stable, above 0.25 changed.",
            ),
            "missing now": st.column_config.NumberColumn(format="percent"),
            "missing in training": st.column_config.NumberColumn(format="percent"),
        },
    )  # fmt: skip
    st.caption(
        f"{count(len(sample.values))} decisions with features, a sample of {sample.share:.2%} of "
        f"{instant(sample.first_micros, zone())} to {instant(sample.last_micros, zone())}, against "
        f"{count(trained.rows)} training rows."
    )
    st.download_button(
        "CSV", lambda: tables.as_csv(rows), "drift.csv", "text/csv", icon=":material/download:", key="f-csv"
    )


def report() -> None:
    """Show the evaluation of the training."""
    if isinstance(bundle, Bundle):
        evaluation.show(bundle)
    else:
        st.info(bundle, icon=":material/folder_off:")


SECTIONS = {"Threshold": explorer, "Precision and recall": by_day, "Drift": drift, "Evaluation": report}

deciding(bundle)
section = st.segmented_control(
    "Section", list(SECTIONS), default="Threshold", key="section", label_visibility="collapsed"
)
# Only what is looked at is read.
SECTIONS[section or "Threshold"]()
