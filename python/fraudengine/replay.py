"""Replay: every transaction of a history decided in time order, as it would have been live.

The same engine that decides live, fed in batches; a label is handed over with its arrival time and the
engine keeps it back until a transaction at or after that time. The result does not depend on the batch
size or the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fraudengine import features as feature_path
from fraudengine.bundle import Bundle
from fraudengine.engine import Action, Decisions, Flag, Reasons
from fraudengine.errors import InputError
from fraudengine.training.models import ANOMALY_COLUMN
from fraudengine.training.options import Progress, silent
from fraudengine.training.split import DELAY_DEFAULT, frame_of, with_label_times

if TYPE_CHECKING:
    from fraudengine.datasets import History

__all__ = ["ReplayResult", "decided_frame", "replay"]

_BATCH_ROWS: Final = 65_536
_ACTIONS: Final = pl.Enum([action.name.lower() for action in Action])


@dataclass(frozen=True)
class ReplayResult:
    """What a replay did.

    Attributes
    ----------
    decisions
        The frame that was written.
    actions
        Transactions per action name.
    repeated, rejected
        Transactions with an id that was decided before, and records that broke the schema.

    """

    decisions: pl.DataFrame
    actions: dict[str, int]
    repeated: int
    rejected: int


def replay(
    bundle: Bundle | str | Path,
    history: History | pl.DataFrame,
    *,
    out: str | Path | None = None,
    label_delay: timedelta = DELAY_DEFAULT,
    start: datetime | None = None,
    features: bool = False,
    threads: int = 1,
    backend: str = "auto",
    progress: Progress = silent,
) -> ReplayResult:
    """Decide a history.

    Parameters
    ----------
    bundle
        A bundle or its folder; verified before use.
    history
        Canonical columns; decided in order of `event_time`, equal times in their order in the frame.
    out
        Parquet file to write; `None` writes none.
    label_delay
        Time from a transaction to its label, where the history does not say.
    start
        Decisions before this instant (aware) are made, because later ones stand on them, but not kept.
    features
        Keep the feature values, one Float32 column each.
    threads
        Native threads, 1 to 64.
    backend
        As in `Engine.activate`.
    progress
        Called with the transactions decided.

    Returns
    -------
    ReplayResult
        Columns `transaction_id`, `event_time`, `score`, `margin`, `anomaly` (Float32), `action`
        (`approve`, `review`, `block`; null for a rejected record), `flags` (UInt8, bits of `Flag`),
        `reasons` and `reason_weights` (lists: feature names and what they add to the log odds, largest
        first; empty when approved), then the features.

    Raises
    ------
    BundleError
        The bundle is refused.
    SchemaError
        A required column is missing.
    InputError
        `out` cannot be written.

    """
    verified = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    ordered = with_label_times(frame_of(history), label_delay)
    labels = feature_path.labels_of(ordered)
    engine = verified.engine(backend=backend, threads=threads)
    kept: list[pl.DataFrame] = []
    for begin in range(0, ordered.height, _BATCH_ROWS):
        batch = ordered[begin : begin + _BATCH_ROWS]
        # Labels wait inside the engine, so all of them go in with the first batch.
        decided = engine.process(batch, labels if begin == 0 else None, features=features)
        frame = decided_frame(batch, decided)
        kept.append(frame if start is None else frame.filter(pl.col("event_time") >= start))
        progress("replay", begin + batch.height, ordered.height)
    decisions = pl.concat(kept) if kept else pl.DataFrame({"transaction_id": []})
    if out is not None:
        _write(decisions, Path(out))
    return _result(decisions)


def decided_frame(batch: pl.DataFrame, decided: Decisions) -> pl.DataFrame:
    """Return the decisions of one batch, with the columns that `replay` returns."""
    rejected = (decided.flags & Flag.REJECTED) != 0
    names = np.array([*_ACTIONS.categories, None], dtype=object)
    actions = names[np.where(rejected, len(Action), decided.action)]
    frame = batch.select("transaction_id", "event_time").with_columns(
        score=pl.Series(decided.score),
        margin=pl.Series(decided.margin),
        anomaly=pl.Series(decided.anomaly),
        action=pl.Series(actions, dtype=_ACTIONS),
        flags=pl.Series(decided.flags),
    )
    frame = frame.hstack(_reasons(decided.reasons, batch.height))
    if decided.features is None:
        return frame
    columns = np.ascontiguousarray(decided.features.T)
    return frame.with_columns(
        **{name: pl.Series(column) for name, column in zip(feature_path.names(), columns, strict=True)}
    )


def _reasons(reasons: Reasons, rows: int) -> pl.DataFrame:
    """Return `reasons` and `reason_weights`, a list per row, empty for approved rows."""
    # The column after the last feature stands for the forest's anomaly.
    names = np.array([*feature_path.names(), ANOMALY_COLUMN])
    given = pl.DataFrame(
        {"row": reasons.row, "reasons": names[reasons.feature], "reason_weights": reasons.contribution},
        schema={"row": pl.UInt64, "reasons": pl.String, "reason_weights": pl.Float32},
    )
    lists = given.group_by("row", maintain_order=True).agg("reasons", "reason_weights")
    every = pl.DataFrame({"row": np.arange(rows, dtype=np.uint64)})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col("reasons", "reason_weights").fill_null([]))


def _result(decisions: pl.DataFrame) -> ReplayResult:
    if not decisions.height:
        return ReplayResult(decisions, {}, 0, 0)
    counted = decisions.drop_nulls("action").group_by("action").len().sort("action").iter_rows()
    flags = decisions["flags"].to_numpy()
    return ReplayResult(
        decisions,
        dict(counted),
        int(np.count_nonzero(flags & Flag.DUPLICATE)),
        int(np.count_nonzero(flags & Flag.REJECTED)),
    )


def _write(decisions: pl.DataFrame, out: Path) -> None:
    """Write the file under another name first: nobody ever reads half of it."""
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        decisions.write_parquet(part, compression="zstd")
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
