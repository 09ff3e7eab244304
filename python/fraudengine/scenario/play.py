"""Plays a scenario: generate, train on the days before, decide the played days, count the money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import polars as pl

from fraudengine.bundle import Bundle
from fraudengine.demo.outcome import TRUTH, Outcome, by_kind, outcome
from fraudengine.replay import replay
from fraudengine.scenario.plan import Plan
from fraudengine.scenario.world import generate_world
from fraudengine.training import train
from fraudengine.training.options import Progress, silent
from fraudengine.training.split import frame_of

__all__ = ["ScenarioResult", "play"]


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """What a scenario came to; amounts are minor units of the plan's currency.

    Attributes
    ----------
    plan
        What was played.
    bundle_hash
        Of the model.
    learned
        Transactions before the played days.
    whole, by_typology, by_day
        Outcome of the played days, of each kind of fraud, of each day.
    replayed, replay_seconds
        Transactions decided, those before the played days included, and how long that took.

    """

    plan: Plan
    bundle_hash: str
    learned: int
    whole: Outcome
    by_typology: dict[str, Outcome]
    by_day: dict[date, Outcome]
    replayed: int
    replay_seconds: float


def play(
    plan: Plan,
    *,
    bundle: Path | None = None,
    keep: Path | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> ScenarioResult:
    """Play a scenario; the same plan and model give the same outcome, to the cent, for any threads.

    Parameters
    ----------
    plan
        The scenario.
    bundle
        Model to decide with; None trains one on the days before those played.
    keep
        Folder for the model that is trained, replaced if there; None keeps nothing.
    threads
        Native threads that generate and decide.
    progress
        Called with stage, steps done, steps in all.

    Raises
    ------
    ConfigError
        A setting is out of range.
    TrainingError
        The days before hold nothing to learn from.
    BundleError
        The model is refused.

    """
    history = frame_of(generate_world(plan, threads=threads, progress=progress))
    with TemporaryDirectory(prefix="fraudengine-scenario-") as folder:
        if bundle is not None:
            model = Bundle.load(bundle)
        else:
            out = keep if keep is not None else Path(folder) / "model"
            model = train(history, plan.train_options(), out, progress, replace=True).bundle
        begin = perf_counter()
        # The days before are decided too, so that every window is full; labels come when they were known.
        decided = replay(model, history, start=plan.cut, threads=threads, progress=progress).decisions
        seconds = perf_counter() - begin
    played = history.filter(pl.col("event_time") >= plan.cut)
    rows = decided.hstack(played.with_columns(_in_currency(plan))[:, list(TRUTH)])
    return ScenarioResult(
        plan=plan,
        bundle_hash=model.hash,
        learned=history.height - played.height,
        whole=outcome(rows),
        by_typology=by_kind(rows),
        by_day=_by_day(plan, rows),
        replayed=history.height,
        replay_seconds=seconds,
    )


def _in_currency(plan: Plan) -> pl.Expr:
    """Convert each amount by whole numbers, half a cent up: sums of parts are the sums of the whole."""
    ten_thousandths = int(plan.money.per_eur * 10_000)
    return (pl.col("amount_minor") * ten_thousandths + 5_000) // 10_000


def _by_day(plan: Plan, rows: pl.DataFrame) -> dict[date, Outcome]:
    parts = rows.with_columns(day=pl.col("event_time").dt.date()).partition_by("day", as_dict=True)
    days = [plan.cut.date() + timedelta(days=day) for day in range(plan.play_days)]
    return {day: outcome(parts.get((day,), rows.clear())) for day in days}
