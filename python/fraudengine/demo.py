"""The whole job on a synthetic history: generate, train, compile, replay the following days, count.

Nothing here is special to the demonstration: each step is the function behind the command of the same
name, so the printed commands do the same by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Final

import polars as pl

from fraudengine.datasets import write_history
from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches
from fraudengine.replay import replay
from fraudengine.training import TrainOptions, train
from fraudengine.training.compile import CompilerNotFoundError
from fraudengine.training.compile_bundle import compile_bundle
from fraudengine.training.options import Progress, silent

__all__ = ["DemoResult", "Outcome", "run"]

_START: Final = datetime(2025, 1, 1, tzinfo=UTC)
_REPLAYED_DAYS: Final = 14
_EXAMPLES: Final = 8


@dataclass(frozen=True)
class Outcome:
    """What the decisions of some transactions came to.

    Attributes
    ----------
    transactions, frauds
        How many there were.
    caught, blocked
        Frauds that were reviewed or blocked, and that were blocked.
    disturbed
        Genuine transactions that were reviewed or blocked.
    at_stake_minor, stopped_minor
        Money of all frauds, and of those caught, in minor units.

    """

    transactions: int
    frauds: int
    caught: int
    blocked: int
    disturbed: int
    at_stake_minor: int
    stopped_minor: int

    @property
    def detection_rate(self) -> float:
        """Caught frauds over all frauds, 0 to 1; NaN without fraud."""
        return self.caught / self.frauds if self.frauds else float("nan")

    @property
    def false_positive_rate(self) -> float:
        """Disturbed genuine transactions over all genuine ones, 0 to 1."""
        genuine = self.transactions - self.frauds
        return self.disturbed / genuine if genuine else float("nan")


@dataclass(frozen=True)
class DemoResult:
    """What a demonstration leaves behind.

    Attributes
    ----------
    history, bundle, decisions, report
        Files and folders that were written.
    trained_transactions
        Transactions before the cut.
    whole
        Outcome of the replayed days.
    by_typology
        Outcome of each kind of fraud (`None` is genuine traffic).
    examples
        Some blocked transactions with score, action and reasons.
    replay_seconds, replayed
        Time to decide the whole history, and how many transactions that were.
    backend_note
        Said when no C compiler was found, else empty.

    """

    history: Path
    bundle: Path
    decisions: Path
    report: Path
    trained_transactions: int
    whole: Outcome
    by_typology: dict[str, Outcome]
    examples: pl.DataFrame
    replay_seconds: float
    replayed: int
    backend_note: str


def run(
    out: Path,
    *,
    customers: int = 10_000,
    days: int = 100,
    fraud_rate: float = 0.005,
    seed: int = 1,
    threads: int = 1,
    progress: Progress = silent,
) -> DemoResult:
    """Run the whole job and write everything below `out`.

    Parameters
    ----------
    out
        Folder for history, bundle and decisions; what an earlier run left there is replaced.
    customers, days, fraud_rate, seed
        Of the synthetic history; the last 14 days are not trained on.
    threads
        Native threads of the replay.
    progress
        Called with stage, steps done, steps in all.

    Returns
    -------
    DemoResult

    Raises
    ------
    ConfigError
        A setting is outside its range.
    TrainingError
        The history is too short or has too little fraud to learn from.

    """
    out.mkdir(parents=True, exist_ok=True)
    config = SyntheticConfig(
        customers=customers,
        merchants=max(400, customers // 5),
        days=days,
        fraud_rate=fraud_rate,
        seed=seed,
        start=_START,
    )
    batches = []
    for day, batch in enumerate(generate_batches(config), start=1):
        batches.append(batch)
        progress("generate", day, days)
    history = pl.concat(batches)
    write_history(history, out / "history.parquet")

    cut = _START + timedelta(days=days - _REPLAYED_DAYS)
    options = TrainOptions(train_until=cut, test_span=timedelta(days=_REPLAYED_DAYS), seed=seed)
    bundle = out / "bundle"
    train(history, options, bundle, progress, replace=True)
    note = ""
    try:
        compile_bundle(bundle, progress)
    except CompilerNotFoundError as error:
        note = str(error)

    decisions = out / "decisions.parquet"
    begin = perf_counter()
    decided = replay(bundle, history, out=decisions, start=cut, threads=threads, progress=progress)
    seconds = perf_counter() - begin
    joined = decided.decisions.hstack(history.filter(pl.col("event_time") >= cut)[:, _TRUTH])
    return DemoResult(
        history=out / "history.parquet",
        bundle=bundle,
        decisions=decisions,
        report=bundle / "report" / "report.html",
        trained_transactions=int((history["event_time"] < cut).sum()),
        whole=_outcome(joined),
        by_typology={str(name): _outcome(part) for (name,), part in joined.group_by("typology")},
        examples=_examples(joined),
        replay_seconds=seconds,
        replayed=history.height,
        backend_note=note,
    )


_TRUTH: Final = ["amount_minor", "is_fraud", "typology"]


def _outcome(rows: pl.DataFrame) -> Outcome:
    fraud = pl.col("is_fraud") == 1
    flagged = pl.col("action") != "approve"
    counts = rows.select(
        transactions=pl.len(),
        frauds=fraud.sum(),
        caught=(fraud & flagged).sum(),
        blocked=(fraud & (pl.col("action") == "block")).sum(),
        disturbed=(~fraud & flagged).sum(),
        at_stake_minor=pl.col("amount_minor").filter(fraud).sum(),
        stopped_minor=pl.col("amount_minor").filter(fraud & flagged).sum(),
    )
    return Outcome(**counts.row(0, named=True))


def _examples(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the highest score of each kind of fraud: a stranger sees one of each."""
    caught = rows.filter((pl.col("is_fraud") == 1) & (pl.col("action") != "approve"))
    best = caught.sort("score", descending=True).group_by("typology", maintain_order=True).first()
    columns = ["transaction_id", "amount_minor", "score", "action", "typology", "reasons"]
    return best.head(_EXAMPLES).select(columns)
