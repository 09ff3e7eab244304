"""A file written from frames that come one after the other: memory holds a few of them, never the whole."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import polars as pl
from polars.io.plugins import register_io_source

from fraudengine.errors import FraudEngineError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["write_frames"]

ROWS_PER_GROUP: Final = 262_144


def write_frames(frames: Iterator[pl.DataFrame], out: Path, *, empty: pl.DataFrame | None = None) -> int:
    """Write frames of one schema as Parquet, CSV or JSON lines, by the suffix of the path; return the rows.

    The file appears under its name when it is whole: nobody ever reads half of it.

    Parameters
    ----------
    frames
        At least one, unless `empty` is given.
    out
        Where to; its folder is made.
    empty
        What stands for no frame at all.

    Raises
    ------
    InputError
        The suffix is unknown, or the file cannot be written.
    """
    first = next(frames, empty)
    if first is None:
        raise InputError(f"there is nothing to write to {out}")
    source = _Source(chain([first], frames))
    lazy = register_io_source(source, schema=first.schema, is_pure=True)
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sink(lazy, part, out)
        part.replace(out)
    except (OSError, pl.exceptions.PolarsError) as error:
        part.unlink(missing_ok=True)
        if source.failed is not None:
            raise source.failed from None
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(f"{out} cannot be written: {reason}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return source.rows


def _sink(lazy: pl.LazyFrame, part: Path, out: Path) -> None:
    text = lazy.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    match out.suffix.casefold():
        case ".parquet" | ".pq":
            lazy.sink_parquet(
                part,
                compression="zstd",
                row_group_size=ROWS_PER_GROUP,
                maintain_order=True,
                engine="streaming",
            )
        case ".csv":
            text.sink_csv(part, maintain_order=True, engine="streaming")
        case ".jsonl" | ".ndjson":
            text.sink_ndjson(part, maintain_order=True, engine="streaming")
        case suffix:
            raise InputError(f"{out}: the suffix {suffix!r} is no known format; use .parquet, .csv or .jsonl")


class _Source:
    """What polars asks for frames; it is asked once and for everything."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames = frames
        self.rows = 0
        self.failed: FraudEngineError | None = None
        """What ended the frames; polars would tell it as an error of its own."""

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        """Yield the frames."""
        del predicate, n_rows, batch_size
        try:
            for frame in self._frames:
                self.rows += frame.height
                yield frame if with_columns is None else frame.select(with_columns)
        except FraudEngineError as error:
            self.failed = error
            raise
