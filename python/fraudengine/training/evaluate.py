"""Detection figures of decisions: which rows count, and every figure with its confidence interval.

Two protocols. `all`: every decided transaction of the range that has a verdict. `handbook`: the one of
"Reproducible Machine Learning for Credit Card Fraud Detection": customers already known to be defrauded
are left out of the test, because their cards would have been replaced.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import numpy as np
import polars as pl

from fraudengine.errors import ConfigError, InputError
from fraudengine.training import bootstrap, metrics

__all__ = ["ALERTS_PER_DAY", "Protocol", "evaluate", "figures", "handbook_rows", "join", "typologies"]

ALERTS_PER_DAY: Final = 100
"""Alerts a day of the alert-list figures."""

_NEEDED: Final = ("event_time", "customer_id", "amount_minor", "is_fraud", "score")


class Protocol(StrEnum):
    """Which transactions of the range count."""

    ALL = "all"
    HANDBOOK = "handbook"


@dataclass(frozen=True)
class _Span:
    """The Handbook's spans."""

    train: timedelta = timedelta(days=7)
    delay: timedelta = timedelta(days=7)
    test: timedelta = timedelta(days=7)


HANDBOOK: Final = _Span()
"""Training week, delay and test week of the Handbook's published figures."""


def join(decisions: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Put verdicts next to decisions, in the order of the history.

    Parameters
    ----------
    decisions
        `transaction_id`, `score`, optionally `margin`, `action`, `flags`, as `replay` writes them.
    history
        Canonical columns with `is_fraud`.

    Returns
    -------
    polars.DataFrame
        The history's first row of each decided id with the decision's columns. `rank` (Float64) orders
        by margin where there is one, because a score near 1 loses digits that the margin keeps.

    Raises
    ------
    InputError
        A column is missing, or no decision belongs to the history.

    """
    for frame, name, columns in (
        (decisions, "the decisions", ("transaction_id", "score")),
        (history, "the history", ("transaction_id", *_NEEDED[:4])),
    ):
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise InputError(f"{name} have no column {', '.join(missing)}")
    kept = [name for name in ("score", "margin", "anomaly", "action", "flags") if name in decisions.columns]
    first = decisions.select("transaction_id", *kept).unique(
        "transaction_id", keep="first", maintain_order=True
    )
    once = history.unique("transaction_id", keep="first", maintain_order=True)
    joined = once.drop(kept, strict=False).join(
        first, on="transaction_id", how="inner", maintain_order="left"
    )
    if not joined.height:
        raise InputError("no decision belongs to a transaction of this history")
    rank = pl.col("score").cast(pl.Float64)
    if "margin" in joined.columns:
        margin = pl.col("margin").cast(pl.Float64).fill_nan(None)
        if joined["margin"].fill_nan(None).null_count() == 0:
            rank = margin
    return joined.with_columns(rank=rank)


def handbook_rows(history: pl.DataFrame, test_start: datetime, spans: _Span = HANDBOOK) -> pl.Series:
    """Mark the rows of the Handbook's test set.

    A customer is known when a fraud of his falls into the training week, or before the test day in
    question minus the delay; whole days in UTC, as in the book.

    Parameters
    ----------
    history
        `event_time`, `customer_id`, `is_fraud`.
    test_start
        First instant of the test week, aware.

    Returns
    -------
    polars.Series
        Boolean, one entry per row.

    """
    lead = spans.train + spans.delay
    day = (pl.col("event_time") - (test_start - lead)).dt.total_days()
    first_day, days = lead.days, spans.test.days
    frame = history.select(
        "customer_id", "is_fraud", inside=pl.col("event_time") >= test_start - lead, day=day
    )
    known = (
        frame.filter(
            pl.col("inside") & (pl.col("is_fraud") == 1) & (pl.col("day") < spans.train.days + days - 1)
        )
        .group_by("customer_id")
        .agg(known_day=pl.col("day").min())
    )
    # A fraud of day d is in the pool from test day d + delay + 1 on; one of the training week always is.
    from_day = pl.max_horizontal(pl.col("known_day") + spans.delay.days + 1, pl.lit(first_day))
    marked = frame.join(known, on="customer_id", how="left", maintain_order="left")
    tested = pl.col("inside") & pl.col("day").is_between(first_day, first_day + days - 1)
    free = pl.col("known_day").is_null() | (pl.col("day") < from_day)
    return marked.select((tested & free).alias("counts")).to_series()


def figures(frame: pl.DataFrame, *, fpr: float, repeats: int = 200, seed: int = 0) -> dict[str, Any]:
    """Compute every detection figure of some decided transactions.

    Parameters
    ----------
    frame
        `event_time`, `customer_id`, `amount_minor`, `is_fraud` (no nulls), `score`, `rank`, optionally
        `action`.
    fpr
        False positive rate at which detection is stated.
    repeats, seed
        Of the bootstrap.

    Returns
    -------
    dict
        JSON values. Figures are `{"value", "low", "high"}` with 95% intervals.

    """
    fraud = frame["is_fraud"].to_numpy().astype(np.int8)
    rank, score = frame["rank"].to_numpy(), frame["score"].to_numpy()
    customer = frame["customer_id"].cast(pl.String).rank("dense").to_numpy().astype(np.int64)
    ranking = bootstrap.by_customer(
        fraud,
        rank,
        customer,
        {
            "roc_auc": metrics.roc_auc,
            "average_precision": metrics.average_precision,
            "recall_at_fpr": lambda points: metrics.recall_at_fpr(points, fpr),
            "precision_at_fpr": lambda points: metrics.precision_at_fpr(points, fpr),
        },
        repeats=repeats,
        seed=seed,
    )
    day = frame["event_time"].dt.epoch("d").to_numpy()
    lists = metrics.alert_days(fraud, rank, customer, day, frame["amount_minor"].to_numpy(), ALERTS_PER_DAY)
    ones = np.ones(len(lists.days))
    money = lists.money_caught + lists.money_lost
    ranking["card_precision"] = bootstrap.by_day(lists.card_precision, ones, repeats=repeats, seed=seed)
    ranking["money_caught_share"] = bootstrap.by_day(lists.money_caught, money, repeats=repeats, seed=seed)
    result: dict[str, Any] = {
        "transactions": frame.height,
        "frauds": int(fraud.sum()),
        "days": len(lists.days),
        "fpr": fpr,
        "alerts_per_day": ALERTS_PER_DAY,
        **{name: asdict(interval) for name, interval in ranking.items()},
        "brier": metrics.brier(fraud, score),
        "calibration_error": metrics.calibration_error(fraud, score),
    }
    if "action" in frame.columns:
        result["actions"] = _actions(frame)
    return {name: _finite(value) for name, value in result.items()}


def _actions(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count frauds and genuine transactions per action name."""
    names = pl.col("action")
    if frame["action"].dtype.is_integer():
        names = names.replace_strict({0: "approve", 1: "review", 2: "block"}, return_dtype=pl.String)
    counted = frame.group_by(action=names).agg(total=pl.len(), frauds=pl.col("is_fraud").sum())
    return {
        row["action"]: {"frauds": int(row["frauds"]), "genuine": int(row["total"] - row["frauds"])}
        for row in counted.sort("action").iter_rows(named=True)
    }


def typologies(frame: pl.DataFrame, threshold_rank: float) -> list[dict[str, Any]]:
    """Count the frauds of each typology, and those at or above a rank; empty where none is named."""
    if "typology" not in frame.columns or frame["typology"].null_count() == frame.height:
        return []
    frauds = frame.filter(pl.col("is_fraud") == 1).with_columns(found=pl.col("rank") >= threshold_rank)
    return (
        frauds.group_by(typology=pl.col("typology").cast(pl.String).fill_null("unknown"))
        .agg(
            frauds=pl.len(),
            found=pl.col("found").sum(),
            amount_minor=pl.col("amount_minor").sum(),
            amount_found_minor=(pl.col("amount_minor") * pl.col("found")).sum(),
        )
        .sort("typology")
        .to_dicts()
    )


def evaluate(
    decisions: pl.DataFrame,
    history: pl.DataFrame,
    *,
    protocol: Protocol = Protocol.ALL,
    start: datetime | None = None,
    end: datetime | None = None,
    fpr: float = metrics.FPR_DEFAULT,
    repeats: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate a decisions file against the verdicts of its history.

    Parameters
    ----------
    decisions, history
        See `join`.
    protocol
        Which transactions count. `HANDBOOK` takes `start` as the first day of its test week; default the
        last 7 days of the history. Customers found defrauded in the history before are then left out.
    start, end
        Range `[start, end)` of event times, aware; default everything decided.
    fpr, repeats, seed
        See `figures`.

    Returns
    -------
    dict
        `protocol`, `start`, `end`, the figures, and `typologies`.

    Raises
    ------
    InputError
        A column is missing or nothing decided has a verdict in the range.
    ConfigError
        The range is empty.

    """
    if start and end and end <= start:
        raise ConfigError(f"the range ends at {end.isoformat()}, not after its start {start.isoformat()}")
    rows = join(decisions, history)
    if protocol is Protocol.HANDBOOK:
        start = start or _last_midnight(history) - HANDBOOK.test
        end = start + HANDBOOK.test
        counted = history.filter(handbook_rows(history, start)).select("transaction_id").unique()
        rows = rows.join(counted, on="transaction_id", how="semi", maintain_order="left")
    if start is not None:
        rows = rows.filter(pl.col("event_time") >= start)
    if end is not None:
        rows = rows.filter(pl.col("event_time") < end)
    rows = rows.filter(pl.col("is_fraud").is_not_null() & pl.col("score").is_not_nan())
    if not rows.height:
        raise InputError("no decided transaction of the range has a verdict")
    points = metrics.curve(rows["is_fraud"].to_numpy(), rows["rank"].to_numpy())
    return {
        "protocol": protocol.value,
        "start": rows["event_time"].min().isoformat(),  # type: ignore[union-attr]  # not empty, a datetime column
        "end": rows["event_time"].max().isoformat(),  # type: ignore[union-attr]  # as above
        **figures(rows, fpr=fpr, repeats=repeats, seed=seed),
        "typologies": typologies(rows, metrics.threshold_at_fpr(points, fpr)),
    }


def _last_midnight(history: pl.DataFrame) -> datetime:
    """Return the midnight UTC that ends the last day of the history."""
    last = history["event_time"].max()
    if not isinstance(last, datetime):
        raise InputError("the history has no event times")
    return last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _finite(value: Any) -> Any:  # noqa: ANN401 - a JSON value is any of several types
    """Turn NaN into None, because JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
