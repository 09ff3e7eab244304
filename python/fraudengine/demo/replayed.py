"""The demonstration without services: the last days are decided from the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import polars as pl

from fraudengine.demo.outcome import TRUTH, Outcome, by_kind, examples, outcome
from fraudengine.demo.prepare import DemoOptions, Prepared, prepare
from fraudengine.replay import replay
from fraudengine.training.options import Progress, silent

__all__ = ["ReplayedResult", "run_replay"]


@dataclass(frozen=True)
class ReplayedResult:
    """What a demonstration without services leaves behind.

    Attributes
    ----------
    prepared
        History and model.
    decisions
        Parquet file of the decisions.
    whole, by_typology
        Outcome of the decided days, and of each kind of fraud.
    examples
        Some flagged transactions with score, action and reasons.
    replay_seconds, replayed
        Time to decide the whole history, and how many transactions that were.

    """

    prepared: Prepared
    decisions: Path
    whole: Outcome
    by_typology: dict[str, Outcome]
    examples: pl.DataFrame
    replay_seconds: float
    replayed: int


def run_replay(out: Path, options: DemoOptions, *, progress: Progress = silent) -> ReplayedResult:
    """Run the whole job without services and write everything below `out`.

    Parameters
    ----------
    out
        Folder for history, bundle and decisions; what an earlier run left there is replaced.
    options
        The history.
    progress
        Called with stage, steps done, steps in all.

    Raises
    ------
    ConfigError, TrainingError
        As `prepare`.

    """
    prepared = prepare(out, options, progress)
    history = prepared.history
    decisions = out / "decisions.parquet"
    begin = perf_counter()
    decided = replay(
        prepared.bundle,
        history,
        out=decisions,
        start=options.cut,
        threads=options.threads,
        progress=progress,
    )
    seconds = perf_counter() - begin
    joined = decided.decisions.hstack(history.filter(pl.col("event_time") >= options.cut)[:, list(TRUTH)])
    return ReplayedResult(
        prepared=prepared,
        decisions=decisions,
        whole=outcome(joined),
        by_typology=by_kind(joined),
        examples=examples(joined),
        replay_seconds=seconds,
        replayed=history.height,
    )
