"""From a file to raw columns: Parquet, CSV and JSON lines, and the records that are not even records.

The good path is columnar (polars, streaming, only the columns that are needed). It is strict: at the
first oddity in a text file (a stray quote, a line too long, bytes that are not UTF-8, half an object) it
gives up, and the tolerant path reads that file again record by record, refusing the bad records with
their number and keeping the rest. Texts stay texts here; conversion is `convert`'s business.

Record numbers start at 1 and do not count the header of a CSV file or blank lines of JSON lines.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from fraudengine.datasets.options import ROW_SOURCE, HistoryFormat
from fraudengine.datasets.rejections import Rejections
from fraudengine.errors import InputError, SchemaError

__all__ = ["RawHistory", "column_names", "detect_format", "is_known_suffix", "raw_batches", "read_raw"]

_SUFFIXES: Final = {
    ".parquet": HistoryFormat.PARQUET,
    ".pq": HistoryFormat.PARQUET,
    ".csv": HistoryFormat.CSV,
    ".jsonl": HistoryFormat.JSONL,
    ".ndjson": HistoryFormat.JSONL,
}
_PEEK_LINES: Final = 1_000
_QUOTED_LINES_MAX: Final = 32
_TEXT_FIELD: Final = "record"
_GLOB: Final = re.compile(r"[*?\[\]{}]")


@dataclass(frozen=True, slots=True)
class RawHistory:
    """Source columns before conversion.

    Attributes
    ----------
    frame
        The source columns, plus `@row` (UInt64): the number of each record, from 1.
    rows_read
        Records seen, the refused ones included.
    """

    frame: pl.DataFrame
    rows_read: int


def detect_format(path: Path, named: HistoryFormat | None) -> HistoryFormat:
    """Return the format of a file: the named one, or by its suffix.

    Raises
    ------
    InputError
        The file does not exist, is empty or a folder, or its suffix says nothing.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    if named is not None:
        return named
    suffix = path.suffix.casefold()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"{path}: the suffix {suffix!r} is no known format; say --format parquet, csv or jsonl"
        )
    return _SUFFIXES[suffix]


def is_known_suffix(path: Path) -> bool:
    """Whether the name of a file says its format."""
    return path.suffix.casefold() in _SUFFIXES


def column_names(path: Path, form: HistoryFormat) -> list[str]:
    """Return the source columns, read from the head of the file.

    Raises
    ------
    InputError
        The head of the file is not what the format says.
    SchemaError
        A CSV header names a column twice.
    """
    try:
        if form is HistoryFormat.PARQUET:
            with path.open("rb") as file:
                return list(pl.read_parquet_schema(file))
        with path.open("rb") as file:
            return _csv_header(file) if form is HistoryFormat.CSV else _json_keys(file)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {form.value}: {_first_line(error)}") from error


def read_raw(path: Path, form: HistoryFormat, columns: Sequence[str], rejections: Rejections) -> RawHistory:
    """Read the given source columns.

    Raises
    ------
    InputError
        The file cannot be read at all.
    """
    try:
        if form is HistoryFormat.PARQUET:
            return _numbered(pl.read_parquet(path, columns=list(columns), glob=False))
        frame = _columnar(path, form, columns)
        if form is HistoryFormat.CSV or not _may_nest(frame):
            return _numbered(frame)
    except (pl.exceptions.PolarsError, OSError) as error:
        if form is HistoryFormat.PARQUET or isinstance(error, OSError):
            raise InputError(f"{path} cannot be read as {form.value}: {_first_line(error)}") from error
    with path.open("rb") as file:
        records = _csv_records(file) if form is HistoryFormat.CSV else _json_records(file)
        return _tolerant(records, columns, rejections)


def raw_batches(
    path: Path, form: HistoryFormat, columns: Sequence[str], rejections: Rejections, rows: int
) -> Iterator[RawHistory]:
    """Yield the given source columns `rows` records at a time; `rows_read` counts from the beginning.

    An oddity of a JSON line spoils its line only, as in `read_raw`. One of a CSV file ends the job.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    if form is HistoryFormat.JSONL:
        yield from _json_batches(path, columns, rejections, rows)
        return
    done = 0
    try:
        if form is HistoryFormat.PARQUET:
            scan = pl.scan_parquet(path, glob=False)
        else:
            scan = pl.scan_csv(path, infer_schema=False, glob=False)
        batches = scan.select(columns).collect_batches(
            chunk_size=rows, maintain_order=True, lazy=True, engine="streaming"
        )
        for frame in batches:
            numbers = pl.int_range(done + 1, done + 1 + frame.height, dtype=pl.UInt64, eager=True)
            done += frame.height
            yield RawHistory(frame.with_columns(numbers.alias(ROW_SOURCE)), done)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = f"{path} cannot be read as {form.value} batch by batch: {_first_line(error)}"
        raise InputError(f"{reason}; --in-memory refuses bad records one by one") from error


def _json_batches(
    path: Path, columns: Sequence[str], rejections: Rejections, rows: int
) -> Iterator[RawHistory]:
    schema, done = dict.fromkeys(columns, pl.String()), 0
    with path.open("rb") as file:
        while lines := list(islice(file, rows)):
            records = [line for line in lines if line.strip()]
            try:
                frame = pl.read_ndjson(b"".join(records), schema=schema)
                good = frame.height == len(records) and not _may_nest(frame)
            except pl.exceptions.PolarsError:
                good = False
            if good:
                first = done + 1
                done += frame.height
                numbers = pl.int_range(first, done + 1, dtype=pl.UInt64, eager=True)
                yield RawHistory(frame.with_columns(numbers.alias(ROW_SOURCE)), done)
            else:
                part = _tolerant(_json_records(records), columns, rejections, first=done + 1)
                done = part.rows_read
                yield part


def _columnar(path: Path, form: HistoryFormat, columns: Sequence[str]) -> pl.DataFrame:
    if form is HistoryFormat.CSV:
        scan = pl.scan_csv(path, infer_schema=False, glob=False)
        return scan.select(columns).collect(engine="streaming")
    schema = dict.fromkeys(columns, pl.String())
    if not _GLOB.search(str(path)):
        return pl.read_ndjson(path, schema=schema)
    # This reader takes such a name for a pattern, finds no file and gives no rows: hand it the open file.
    with path.open("rb") as file:
        return pl.read_ndjson(file, schema=schema)


def _may_nest(frame: pl.DataFrame) -> bool:
    """Whether a value looks like an array or object, which the columnar reader hands over as its text."""
    nested = pl.all().str.contains(r"^[\[{]").any()
    return any(frame.select(nested).row(0)) if frame.width else False


def _numbered(frame: pl.DataFrame) -> RawHistory:
    numbers = pl.int_range(1, pl.len() + 1, dtype=pl.UInt64).alias(ROW_SOURCE)
    return RawHistory(frame.with_columns(numbers), frame.height)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _csv_header(file: BinaryIO) -> list[str]:
    line = file.readline().decode("utf-8-sig")
    names = next(csv.reader([line]), [])
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SchemaError(f"the header names column {repeated[0]!r} more than once")
    return names


def _json_keys(file: BinaryIO) -> list[str]:
    """Return the keys of the first objects, in order of appearance."""
    keys: dict[str, None] = {}
    for _, line in zip(range(_PEEK_LINES), file, strict=False):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            keys |= dict.fromkeys(record)
    if not keys:
        raise SchemaError(f"no JSON object in the first {_PEEK_LINES} lines")
    return list(keys)


def _json_records(file: Iterable[bytes]) -> Iterator[dict[str, object] | str]:
    """Yield each object, or the reason why a line is none."""
    for line in file:
        if not line.strip():
            continue
        try:
            # Numbers stay the text they were, so that 12.10 is not a float on its way to 1210 cents.
            record = json.loads(line.decode("utf-8"), parse_float=str, parse_int=str)
        except UnicodeDecodeError:
            yield "is not valid UTF-8"
        except (ValueError, RecursionError) as error:
            yield f"is not valid JSON ({_first_line(error)})"
        else:
            yield record if isinstance(record, dict) else "is not a JSON object"


def _csv_records(file: BinaryIO) -> Iterator[dict[str, object] | str]:
    """Yield each record, or the reason why its line is none."""
    names = _csv_header(file)
    for line in _logical_lines(file):
        try:
            values = next(csv.reader([line.decode("utf-8")], strict=True), [])
        except UnicodeDecodeError:
            yield "is not valid UTF-8"
        except csv.Error as error:
            yield f"is not valid CSV ({error})"
        else:
            if len(values) > len(names):
                yield f"has {len(values)} fields, the header has {len(names)}"
            else:
                yield {name: value or None for name, value in zip(names, values, strict=False)}


def _logical_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines, joined while a quoted field is open; an unclosed quote spoils its own line only."""
    held: list[bytes] = []
    lines = iter(file.readline, b"")
    for line in lines:
        held.append(line)
        if sum(part.count(b'"') for part in held) % 2 == 0:
            yield b"".join(held)
            held = []
        elif len(held) == _QUOTED_LINES_MAX:
            yield held[0]
            yield from held[1:]
            held = []
    yield from held


def _tolerant(
    records: Iterator[dict[str, object] | str],
    columns: Sequence[str],
    rejections: Rejections,
    *,
    first: int = 1,
) -> RawHistory:
    values: dict[str, list[str | None]] = {name: [] for name in columns}
    numbers: list[int] = []
    number = first - 1
    for number, record in enumerate(records, start=first):
        if isinstance(record, str):
            rejections.add(number, _TEXT_FIELD, None, record)
            continue
        nested = next((name for name in values if isinstance(record.get(name), list | dict)), None)
        if nested is not None:
            rejections.add(number, nested, json.dumps(record[nested]), "is not a single value")
            continue
        numbers.append(number)
        for name, column in values.items():
            column.append(_text(record.get(name)))
    frame = pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String()))
    return RawHistory(frame.with_columns(pl.Series(ROW_SOURCE, numbers, dtype=pl.UInt64)), number)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        # JSON can escape half a surrogate pair, which no UTF-8 text can hold.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value)
