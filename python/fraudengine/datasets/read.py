"""Read a transaction history of any origin into the canonical frame, and write one.

One bad row never ends the job: it is left out and listed with its number, field, value and reason. What
does end it is a file that is not what it claims to be (`InputError`) or a missing column (`SchemaError`).
Rows keep the order of the file; repeated transaction ids pass through, because the engine answers a
repeated id with its first decision.

The limits of each value (lengths, codes, coordinates) are the engine's to check. Here a row is refused
when it cannot be expressed in the schema's types, or lacks a required value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fraudengine.datasets.convert import Converter
from fraudengine.datasets.mapping import COLUMNS_BY_NAME, Resolved, resolve_columns
from fraudengine.datasets.options import ROW_SOURCE, HistoryFormat, ReadOptions
from fraudengine.datasets.rejections import Rejections
from fraudengine.datasets.sources import column_names, detect_format, read_raw
from fraudengine.errors import InputError

__all__ = ["History", "read_history", "with_delay", "with_late_names", "write_history"]


@dataclass(frozen=True, slots=True)
class History:
    """A transaction history, ready for features, training or replay.

    Attributes
    ----------
    frame
        Canonical columns with the types of `fraudengine.schema.polars_schema`, in the file's row order.
    rejected
        One line per refused value: `row` (UInt64, from 1), `field`, `value`, `reason`.
    notices
        What was guessed while reading, one sentence each.
    rows_read
        Records seen, refused ones included.
    row_numbers
        UInt64, one entry per row of `frame`: the number of its record in the file, from 1.
    """

    frame: pl.DataFrame
    rejected: pl.DataFrame
    notices: tuple[str, ...]
    rows_read: int
    row_numbers: pl.Series

    @property
    def rows_rejected(self) -> int:
        """Number of records that were refused; a record with two bad fields counts once."""
        return self.rejected["row"].n_unique() if self.rejected.height else 0

    @property
    def has_labels(self) -> bool:
        """Whether at least one transaction has a verdict."""
        return self.frame["is_fraud"].count() > 0

    def in_time_order(self) -> pl.DataFrame:
        """Return the frame sorted by event time; transactions of one microsecond keep the file's order."""
        return self.frame.sort("event_time", maintain_order=True)


def read_history(path: Path | str, options: ReadOptions | None = None) -> History:
    """Read a history.

    Parameters
    ----------
    path
        A Parquet, CSV (UTF-8, header line, comma) or JSON lines file.
    options
        How to read it; the default suits canonical or commonly used column names.

    Returns
    -------
    History
        The canonical frame, the refused rows and the notices.

    Raises
    ------
    InputError
        The file is missing, empty, or cannot be read in its format.
    SchemaError
        A required column is missing, or a column has a type that cannot be converted.
    ConfigError
        The time zone is unknown.

    Examples
    --------
    >>> from fraudengine.datasets import ReadOptions, read_history
    >>> history = read_history("payments.csv", ReadOptions(mapping={"merchant_id": "shop"}))  # doctest: +SKIP
    >>> history.frame.select("transaction_id", "amount_minor")  # doctest: +SKIP
    """
    options = options or ReadOptions()
    path = Path(path)
    form = detect_format(path, options.format)
    names = column_names(path, form)
    resolved = resolve_columns(names, options)
    if form is HistoryFormat.JSONL:
        resolved = with_late_names(resolved)
    columns = sorted({source for source in resolved.sources.values() if source != ROW_SOURCE})
    rejections = Rejections()
    raw = read_raw(path, form, columns, rejections)
    notices = list(resolved.notices)
    try:
        frame, row_numbers = Converter(raw.frame, resolved, options, rejections, notices).convert()
    except pl.exceptions.PolarsError as error:
        # A pattern or a zone that only the columnar library refuses; rows never get here.
        raise InputError(f"{path} cannot be converted: {str(error).partition(chr(10))[0]}") from error
    if options.label_delay_micros is not None:
        frame = with_delay(frame, options.label_delay_micros)
    return History(frame, rejections.frame(), tuple(notices), raw.rows_read, row_numbers)


def write_history(frame: pl.DataFrame, path: Path | str) -> None:
    """Write a frame as Parquet, CSV or JSON lines, by the suffix of the path.

    Times are written as ISO 8601 with their zone in the text formats, so that `read_history` gives the
    same frame back.

    Raises
    ------
    InputError
        The suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    text = frame.with_columns(
        pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
    )
    try:
        match path.suffix.casefold():
            case ".parquet" | ".pq":
                frame.write_parquet(path, compression="zstd")
            case ".csv":
                text.write_csv(path)
            case ".jsonl" | ".ndjson":
                text.write_ndjson(path)
            case suffix:
                raise InputError(
                    f"{path}: the suffix {suffix!r} is no known format; use .parquet, .csv or .jsonl"
                )
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def with_late_names(resolved: Resolved) -> Resolved:
    """Ask for every schema column: in JSON lines an optional field may first appear deep in the file."""
    used = set(resolved.sources.values())
    late = {name: name for name in COLUMNS_BY_NAME if name not in resolved.sources and name not in used}
    return Resolved({**resolved.sources, **late}, resolved.amount_in_major, resolved.notices)


def with_delay(frame: pl.DataFrame, delay_micros: int) -> pl.DataFrame:
    """Say of labels that do not say when they became known that it was so long after their transactions."""
    due = pl.col("event_time") + pl.duration(microseconds=delay_micros)
    missing = pl.col("label_known_time").is_null() & pl.col("is_fraud").is_not_null()
    known = pl.when(missing).then(due).otherwise(pl.col("label_known_time"))
    return frame.with_columns(known.alias("label_known_time"))
