"""Replay of a history of any size: read, decided and written batch by batch, with the decisions of `replay`.

Memory holds a few batches, the engine's state (bounded by its own limits) and the labels that are not due
yet: those of the frauds of one label delay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fraudengine import features as feature_path
from fraudengine.bundle import Bundle
from fraudengine.engine import Flag
from fraudengine.errors import InputError
from fraudengine.frame_files import write_frames
from fraudengine.replay import decided_frame
from fraudengine.training.options import Progress, silent
from fraudengine.training.split import DELAY_DEFAULT, with_label_times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

    from fraudengine.datasets.batches import HistoryBatches
    from fraudengine.engine import Engine

__all__ = ["ReplayCounts", "replay_stream"]

_BATCH_ROWS: Final = 65_536


@dataclass
class ReplayCounts:
    """What a replay did.

    Attributes
    ----------
    decisions
        Transactions whose decisions were written.
    actions
        Those per action name.
    repeated, rejected
        Transactions with an id that was decided before, and records that broke the schema.

    """

    decisions: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    rejected: int = 0

    def add(self, decisions: pl.DataFrame) -> None:
        """Count the decisions of a batch."""
        self.decisions += decisions.height
        counted = decisions.drop_nulls("action").group_by("action").len()
        self.actions.update(dict(counted.iter_rows()))
        flags = decisions["flags"].to_numpy()
        self.repeated += int(np.count_nonzero(flags & Flag.DUPLICATE))
        self.rejected += int(np.count_nonzero(flags & Flag.REJECTED))


def replay_stream(
    bundle: Bundle | str | Path,
    history: HistoryBatches,
    out: Path,
    *,
    label_delay: timedelta = DELAY_DEFAULT,
    start: datetime | None = None,
    features: bool = False,
    threads: int = 1,
    backend: str = "auto",
    progress: Progress = silent,
) -> ReplayCounts:
    """Decide a history and write the decisions as they come; the parameters are those of `replay`.

    Returns
    -------
    ReplayCounts
        The file holds the columns that `replay` returns, in row groups.

    Raises
    ------
    BundleError
        The bundle is refused.
    InputError
        A file cannot be read or written, the rows are not in order of event time, or a label was known before
        a transaction that was decided already.

    """
    verified = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    engine = verified.engine(backend=backend, threads=threads)
    counts = ReplayCounts()

    def kept() -> Iterator[pl.DataFrame]:
        for decided in _decided(engine, history, label_delay, features=features):
            frame = decided if start is None else decided.filter(pl.col("event_time") >= start)
            counts.add(frame)
            progress("replay", history.rows_read, history.rows_expected())
            yield frame

    write_frames(kept(), out, empty=pl.DataFrame({"transaction_id": []}))
    return counts


def _decided(
    engine: Engine, history: HistoryBatches, label_delay: timedelta, *, features: bool
) -> Iterator[pl.DataFrame]:
    newest: datetime | None = None
    for frame in history:
        timed = with_label_times(frame, label_delay)
        labels = feature_path.labels_of(timed)
        if labels is not None and newest is not None:
            _refuse_early(labels, newest)
        for begin in range(0, timed.height, _BATCH_ROWS):
            batch = timed[begin : begin + _BATCH_ROWS]
            # Labels wait inside the engine until they are due.
            decided = engine.process(batch, labels if begin == 0 else None, features=features)
            yield decided_frame(batch, decided)
        newest = timed["event_time"][-1]


def _refuse_early(labels: pl.DataFrame, newest: datetime) -> None:
    """Refuse labels that should have been known to transactions that are decided already."""
    early = labels.filter(pl.col("known_time") <= newest)
    if early.height:
        row = early.row(0, named=True)
        raise InputError(
            f"the label of transaction {row['transaction_id']!r} was known at "
            f"{row['known_time']:%Y-%m-%d %H:%M:%S}, before the transaction itself: correct "
            "label_known_time, or give --in-memory"
        )
