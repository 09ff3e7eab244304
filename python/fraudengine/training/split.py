"""Which rows may teach, which calibrate, which test: by time, and never with a label not yet known.

Seen from the instant `train_until` at which a bundle is trained:

    history   | fit ............ | delay | validation | delay | train_until | test ...
    model A     learns            (gap)    is judged
    final model learns ....................................

Only transactions whose label is known at `train_until` are used. The calibration model learns from what
was known when the validation window began, so it meets the same label gap as the final model meets in
production. Where a history is too short for that gap, the gap is dropped and `Split.gap` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine.errors import SchemaError, TrainingError
from fraudengine.training.options import TrainOptions

if TYPE_CHECKING:
    from fraudengine.datasets import History

__all__ = ["DELAY_DEFAULT", "FRAUDS_MIN", "Split", "frame_of", "make_split", "with_label_times"]

DELAY_DEFAULT: Final = timedelta(days=7)
"""Label delay of a history that does not say when its labels became known."""

FRAUDS_MIN: Final = 20
"""Fewer frauds than this teach nothing that lasts; a window with fewer counts as without labels."""

_DAY: Final = timedelta(days=1) // timedelta(microseconds=1)
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers, increasing, and the instants that separate them (microseconds since 1970, UTC).

    Attributes
    ----------
    fit, validation
        For the model that chooses calibration and thresholds.
    final
        For the model that is kept; holds all of `fit` and `validation`.
    test
        After `train_until`, labelled at any time; may be empty.
    train_until_micros, validation_from_micros
        Instants.
    gap
        Whether the label delay separates `fit` from `validation`.
    supervised
        Whether there are frauds enough to learn from; without, only the forest is trained, on `final`.

    """

    fit: Rows
    validation: Rows
    final: Rows
    test: Rows
    train_until_micros: int
    validation_from_micros: int
    gap: bool
    supervised: bool


def frame_of(history: History | pl.DataFrame) -> pl.DataFrame:
    """Return the canonical frame of a history in order of `event_time`; equal times keep their order.

    Raises
    ------
    SchemaError
        There is no `event_time` column.

    """
    frame = history if isinstance(history, pl.DataFrame) else history.frame
    if "event_time" not in frame.columns:
        raise SchemaError("the history has no column event_time")
    return frame.sort("event_time", maintain_order=True)


def with_label_times(history: pl.DataFrame, delay: timedelta | None) -> pl.DataFrame:
    """Return the history with `is_fraud` and `label_known_time`, both null where there is no label.

    Parameters
    ----------
    history
        Canonical columns.
    delay
        Time from a transaction to its label where the history does not say; `None` means 7 days.

    """
    if "is_fraud" not in history.columns:
        history = history.with_columns(is_fraud=pl.lit(None, pl.Int8))
    due = pl.col("event_time") + (DELAY_DEFAULT if delay is None else delay)
    if "label_known_time" in history.columns:
        due = pl.coalesce(pl.col("label_known_time"), due)
    return history.with_columns(label_known_time=pl.when(pl.col("is_fraud").is_not_null()).then(due))


def make_split(history: pl.DataFrame, usable: npt.NDArray[np.bool_], options: TrainOptions) -> Split:
    """Split a history by time.

    Parameters
    ----------
    history
        `event_time`, `is_fraud`, `label_known_time` as `with_label_times` returns them.
    usable
        Rows with features (neither rejected nor repeated).
    options
        Spans and cut.

    Raises
    ------
    TrainingError
        No usable transaction happened before the cut.

    """
    times = history["event_time"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    known = history["label_known_time"].cast(pl.Datetime("us", "UTC")).to_physical()
    known_at = known.fill_null(np.iinfo(np.int64).max).to_numpy()
    fraud = history["is_fraud"].fill_null(0).to_numpy() == 1
    if not usable.any():
        raise TrainingError("the history holds no usable transaction")
    start, end = int(times[usable].min()), int(times[usable].max())
    until = _cut(start, end, options)
    before = usable & (times < until)
    if not before.any():
        raise TrainingError(f"no transaction happened before {_iso(until)}, where training ends")
    test = np.flatnonzero(usable & (times >= until) & (times < until + _micros(options.test_span)))
    learned = before & (known_at <= until)
    if np.count_nonzero(fraud & learned) < FRAUDS_MIN:
        recent = before & (times >= until - _micros(options.train_span))
        none = np.zeros(0, dtype=np.int64)
        return Split(none, none, np.flatnonzero(recent), test, until, until, gap=False, supervised=False)
    last = int(times[learned].max()) + 1
    learned &= times >= max(start, last - _micros(options.train_span))
    first = int(times[learned].min())
    val_from = _aligned(last - min(_micros(options.validation_span), (last - first) // 4), last - first)
    fit = learned & (known_at <= val_from) & (times < val_from)
    gap = int(np.count_nonzero(fit & fraud)) >= FRAUDS_MIN
    if not gap:
        fit = learned & (times < val_from)
    return Split(
        fit=np.flatnonzero(fit),
        validation=np.flatnonzero(learned & (times >= val_from)),
        final=np.flatnonzero(learned),
        test=test,
        train_until_micros=until,
        validation_from_micros=val_from,
        gap=gap,
        supervised=True,
    )


def _cut(start: int, end: int, options: TrainOptions) -> int:
    """Where training ends: as told, else so that the end of the history tests it (at most a fifth)."""
    if options.train_until is not None:
        return int((options.train_until - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    span = end + 1 - start
    if span < 5 * _DAY:
        return end + 1 - min(_micros(options.test_span), span // 5)
    # Whole days in UTC, the last one counted to its midnight: figures per day need whole days.
    return -(-(end + 1) // _DAY) * _DAY - min(_micros(options.test_span), span // 5 // _DAY * _DAY)


def _aligned(instant: int, span: int) -> int:
    """Move an instant to the nearest midnight UTC when the windows are days long."""
    return (instant + _DAY // 2) // _DAY * _DAY if span >= 8 * _DAY else instant


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()
