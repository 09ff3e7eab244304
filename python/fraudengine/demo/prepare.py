"""What every demonstration begins with: a synthetic history, and a model of all but its last days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraudengine.datasets import write_history
from fraudengine.datasets.synthetic import SyntheticConfig, generate_batches
from fraudengine.training import TrainOptions, train
from fraudengine.training.compile import CompilerNotFoundError
from fraudengine.training.compile_bundle import compile_bundle
from fraudengine.training.options import Progress

__all__ = ["DECIDED_DAYS", "DemoOptions", "Prepared", "prepare"]

_START: Final = datetime(2025, 1, 1, tzinfo=UTC)
DECIDED_DAYS: Final = 14
"""Days at the end of the history that the model does not see before it decides them."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The history of a demonstration.

    Attributes
    ----------
    customers, days, fraud_rate, seed
        As in `SyntheticConfig`; the last 14 days are decided, not trained on.
    threads
        Native threads that decide.

    """

    customers: int = 10_000
    days: int = 100
    fraud_rate: float = 0.005
    seed: int = 1
    threads: int = 1

    @property
    def learned_days(self) -> int:
        """Days that the model learns from."""
        return self.days - DECIDED_DAYS

    @property
    def cut(self) -> datetime:
        """The first instant that the model has not seen."""
        return _START + timedelta(days=self.learned_days)

    def synthetic(self) -> SyntheticConfig:
        """Return the history to generate."""
        return SyntheticConfig(
            customers=self.customers,
            merchants=max(400, self.customers // 5),
            days=self.days,
            fraud_rate=self.fraud_rate,
            seed=self.seed,
            start=_START,
        )


@dataclass(frozen=True)
class Prepared:
    """A history and a model of its beginning.

    Attributes
    ----------
    history, history_path
        All days, in order of arrival, and their file.
    bundle, report
        Folder of the model, and the page that tells about its training.
    trained_transactions
        Transactions before the cut.
    backend_note
        Said when no C compiler was found, else empty.

    """

    history: pl.DataFrame
    history_path: Path
    bundle: Path
    report: Path
    trained_transactions: int
    backend_note: str


def prepare(out: Path, options: DemoOptions, progress: Progress) -> Prepared:
    """Generate, train, compile, and write everything below `out`; what an earlier run left is replaced.

    Raises
    ------
    ConfigError
        A setting is outside its range.
    TrainingError
        The history is too short or has too little fraud to learn from.

    """
    out.mkdir(parents=True, exist_ok=True)
    batches = []
    for day, batch in enumerate(generate_batches(options.synthetic()), start=1):
        batches.append(batch)
        progress("generate", day, options.days)
    history = pl.concat(batches)
    path = out / "history.parquet"
    write_history(history, path)

    span = timedelta(days=DECIDED_DAYS)
    training = TrainOptions(train_until=options.cut, test_span=span, seed=options.seed)
    bundle = out / "bundle"
    train(history, training, bundle, progress, replace=True)
    note = ""
    try:
        compile_bundle(bundle, progress)
    except CompilerNotFoundError as error:
        note = str(error)
    return Prepared(
        history=history,
        history_path=path,
        bundle=bundle,
        report=bundle / "report" / "report.html",
        trained_transactions=int((history["event_time"] < options.cut).sum()),
        backend_note=note,
    )
