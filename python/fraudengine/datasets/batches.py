"""A history of any size, batch by batch in order of event time: one file, a folder of files, or a pattern.

Memory holds one batch and what is held back, never the history. The rules for values and refused rows are
those of `read_history`, but that a record of a CSV file that is none at all ends the job. The history must
be in order of event time but for a bounded disorder, as records arrive live: rows are held back for
`DISORDER` of event time and sorted, equal times in the order of the files. A row that comes later than that
is an error with its id, not a row in the wrong place.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from fraudengine.datasets.convert import Converter
from fraudengine.datasets.mapping import Resolved, resolve_columns
from fraudengine.datasets.options import ROW_SOURCE, HistoryFormat, ReadOptions
from fraudengine.datasets.read import with_delay, with_late_names
from fraudengine.datasets.rejections import Rejections
from fraudengine.datasets.sources import column_names, detect_format, is_known_suffix, raw_batches
from fraudengine.errors import InputError

__all__ = ["DISORDER", "HistoryBatches", "history_files"]

DISORDER: Final = timedelta(hours=2)
"""How far a row may stand behind a later one."""
ROWS_AT_ONCE: Final = 262_144


def history_files(path: Path | str) -> list[Path]:
    """Return the files of a history: itself, or those of a folder or pattern in order of their names.

    Raises
    ------
    InputError
        There is none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file() and is_known_suffix(each))
        if not found:
            raise InputError(f"{path} holds no .parquet, .csv or .jsonl file")
        return found
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(each) for each in glob.glob(str(path)))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        raise InputError(f"{path} matches no file")
    return found


class HistoryBatches:
    """Yields canonical frames in order of event time; iterate once.

    Parameters
    ----------
    path
        A file, a folder, or a pattern such as `payments-*.parquet`; several files follow one another in the
        order of their names.
    options
        How to read them; the default suits canonical or commonly used column names.
    rows
        Records read at once.

    Raises
    ------
    InputError
        There is no file, one of them cannot be read, or (while iterating) rows are not in order.
    SchemaError
        A required column is missing.

    Examples
    --------
    >>> for frame in HistoryBatches("payments"):  # doctest: +SKIP
    ...     print(frame.height)
    """

    def __init__(
        self, path: Path | str, options: ReadOptions | None = None, *, rows: int = ROWS_AT_ONCE
    ) -> None:
        self.files: Sequence[Path] = history_files(path)
        self._options = options or ReadOptions()
        self._rows = rows
        self._sources = [self._source(file) for file in self.files]
        self._expected: int | None = None
        self.rows_read = 0
        """Records seen so far, refused ones included."""
        self.rows_rejected = 0
        """Records refused so far."""
        self.notices: dict[str, None] = {}
        """What was guessed so far, each sentence once."""

    def _source(self, file: Path) -> tuple[Path, HistoryFormat, Resolved]:
        form = detect_format(file, self._options.format)
        resolved = resolve_columns(column_names(file, form), self._options)
        return file, form, with_late_names(resolved) if form is HistoryFormat.JSONL else resolved

    def bytes(self) -> int:
        """Return the size of the files."""
        return sum(file.stat().st_size for file in self.files)

    def rows_expected(self) -> int:
        """Return how many records there are: exact for Parquet, otherwise at least those that were read."""
        if self._expected is None:
            parquet = [file for file, form, _ in self._sources if form is HistoryFormat.PARQUET]
            counted = [
                pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in parquet
            ]
            self._expected = sum(counted) if len(parquet) == len(self._sources) else 0
        return max(self._expected, self.rows_read)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield the frames; none of them is empty."""
        held: pl.DataFrame | None = None
        newest = until = None
        for frame in self._converted():
            if not frame.height:
                continue
            if until is not None:
                self._refuse_before(frame, until)
            frame = frame if held is None else held.vstack(frame)
            frame = frame.sort("event_time", maintain_order=True)
            last = frame["event_time"][-1]
            newest = last if newest is None else max(newest, last)
            ready = frame["event_time"].search_sorted(newest - DISORDER, side="left")
            if ready:
                yield frame[:ready]
                until = newest - DISORDER
            held = frame[ready:]
        if held is not None and held.height:
            yield held

    def _refuse_before(self, frame: pl.DataFrame, until: datetime) -> None:
        """Refuse rows that belong before what was handed out: times below `until` were."""
        late = frame.filter(pl.col("event_time") < until)
        if late.height:
            row = late.row(0, named=True)
            raise InputError(
                f"transaction {row['transaction_id']!r} at {row['event_time']:%Y-%m-%d %H:%M:%S} "
                f"stands more than {DISORDER} behind an earlier row: sort the history by event_time, "
                "or give --in-memory"
            )

    def _converted(self) -> Iterator[pl.DataFrame]:
        before = 0
        for file, form, resolved in self._sources:
            columns = sorted({source for source in resolved.sources.values() if source != ROW_SOURCE})
            rejections, numbers = Rejections(), before
            for raw in raw_batches(file, form, columns, rejections, self._rows):
                numbered = raw.frame.with_columns(pl.col(ROW_SOURCE) + before)
                notices: list[str] = []
                try:
                    converter = Converter(numbered, resolved, self._options, rejections, notices)
                    frame, _ = converter.convert()
                except pl.exceptions.PolarsError as error:
                    reason = str(error).partition(chr(10))[0]
                    raise InputError(f"{file} cannot be converted: {reason}") from error
                if self._options.label_delay_micros is not None:
                    frame = with_delay(frame, self._options.label_delay_micros)
                self.notices |= dict.fromkeys([*resolved.notices, *notices])
                numbers = before + raw.rows_read
                self.rows_read = numbers
                if len(rejections):
                    # Counted, not kept: a history may have any number of them.
                    self.rows_rejected += rejections.frame()["row"].n_unique()
                    rejections.clear()
                yield frame
            before = numbers
