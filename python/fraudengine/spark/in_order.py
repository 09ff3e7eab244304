"""A stage of the stream over sorted rows, for a replay: state in memory, one bucket at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from fraudengine.spark import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["PLACE", "InOrder"]

PLACE: Final = ("home", "time", "part", "off")
"""Columns that tell transactions apart, in the order in which they are settled."""


class _Memory:
    """What a stage asks of Spark's state store, for the bucket at hand: a value, or a map of them."""

    def __init__(self) -> None:
        self._held: dict[Any, Any] = {}

    def getMapState(self, *_: str) -> _Memory:
        return _Memory()

    def getValueState(self, *_: str) -> _Memory:
        return _Memory()

    def getValue(self, key: Any) -> Any:  # noqa: ANN401
        return self._held.get(key)

    def updateValue(self, key: Any, value: Any) -> None:  # noqa: ANN401
        self._held[key] = value

    def get(self) -> Any:  # noqa: ANN401
        return self._held.get(None)

    def update(self, value: Any) -> None:  # noqa: ANN401
        self._held[None] = value


@dataclass(frozen=True)
class InOrder:
    """A stage of the stream over sorted rows.

    Attributes
    ----------
    make
        Makes the stage, once for each bucket.
    keys
        Columns that tell buckets apart.
    told
        Turns what the last stage makes into rows of the result; none: rows travel on.

    """

    make: Callable[[], Any]
    keys: tuple[str, ...]
    told: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def __call__(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Take in the rows of a task, bucket after bucket."""
        bucket: tuple[int, ...] | None = None
        stage: Any = None
        # The last stage needs the pieces of a transaction together.
        together = frames if self.told is None else _unbroken(frames)
        for key, piece in _by_bucket(together, list(self.keys)):
            if key != bucket:
                bucket, stage = key, self.make()
                stage.init(_Memory())
            clocked = _with_clock(piece) if self.told is None else piece
            for made in stage.handleInputRows(key, iter([clocked]), None):
                yield made[made["what"].to_numpy() != rows.CLOCK] if self.told is None else self.told(made)


def _by_bucket(
    frames: Iterable[pd.DataFrame], keys: list[str]
) -> Iterator[tuple[tuple[int, ...], pd.DataFrame]]:
    """Cut frames where the bucket changes."""
    for frame in frames:
        if len(frame) == 0:
            continue
        buckets = frame[keys].to_numpy()
        changes = np.flatnonzero((buckets[1:] != buckets[:-1]).any(axis=1)) + 1
        for begin, end in zip([0, *changes], [*changes, len(frame)], strict=True):
            key = tuple(int(each) for each in buckets[begin])
            yield key, frame.iloc[begin:end].reset_index(drop=True)


def _unbroken(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Keep the pieces of a transaction in one frame: the last one waits for what follows."""
    left: pd.DataFrame | None = None
    for frame in frames:
        every = frame if left is None else pd.concat([left, frame], ignore_index=True)
        if len(every):
            places = every[list(PLACE)].to_numpy()
            last = (places == places[-1]).all(axis=1)
            yield every[~last]
            left = every[last]
    if left is not None:
        yield left


def _with_clock(piece: pd.DataFrame) -> pd.DataFrame:
    """Tell the bucket how far its own rows go."""
    own = piece["what"].to_numpy() == rows.TRANSACTION
    if not own.any():
        return piece
    mine = piece[own]
    clock = mine.head(1).assign(what=rows.CLOCK, time=mine["time"].max(), body=None)
    return pd.concat([piece, clock], ignore_index=True)
