"""The first stage, without state: records of Kafka become checked rows, by the stream's own decoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fraudengine import _native
from fraudengine.spark import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

__all__ = ["Plan", "Reading", "native"]


@dataclass(frozen=True)
class Plan:
    """What every stage must agree on; all of it is fixed with the checkpoint.

    Attributes
    ----------
    settings
        The native settings as JSON.
    cells
        How many cells the entities of a kind are spread over: one value of the state store each.
    buckets
        How many groups the cells of a kind are dealt out to; a bucket is one unit of parallel work.

    """

    settings: str
    cells: int
    buckets: int


@lru_cache(maxsize=4)
def native(plan: Plan) -> _native.Keyed:
    """Return the native side, made once in each worker process."""
    return _native.Keyed(plan.settings, cells=plan.cells)


@dataclass(frozen=True)
class Reading:
    """Decodes one partition of a topic.

    Attributes
    ----------
    plan
        As everywhere.
    labels
        Whether the topic is `labels`; else `transactions`.

    """

    plan: Plan
    labels: bool

    def __call__(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Turn records (`value`, `partition`, `offset`, `stamp` in milliseconds) into travelling rows."""
        newest = None
        for records in frames:
            found, refused = native(self.plan).read(
                list(records["value"]),
                records["partition"].to_numpy(np.int64),
                records["offset"].to_numpy(np.int64),
                records["stamp"].to_numpy(np.int64),
                self.labels,
            )
            at, times, cells, bodies = found
            taken = records.take(at)
            if self.labels:
                yield from self._labels(taken, times, cells.reshape(-1, rows.KINDS), bodies)
            elif len(at):
                newest = int(times.max()) if newest is None else max(newest, int(times.max()))
                yield self._transactions(taken, times, cells.reshape(-1, rows.KINDS), bodies)
            if refused:
                yield self._letters(records, refused)
        if newest is not None:
            yield self._clocks(newest)

    def _transactions(
        self,
        records: pd.DataFrame,
        times: npt.NDArray[np.int64],
        cells: npt.NDArray[np.int32],
        bodies: list[bytes],
    ) -> pd.DataFrame:
        home = cells[:, 0] % self.plan.buckets
        return rows.frame(
            len(times),
            what=rows.TRANSACTION,
            bucket=home,
            home=home,
            time=times,
            part=records["partition"].to_numpy(),
            off=records["offset"].to_numpy(),
            stamp=np.maximum(records["stamp"].to_numpy(), 0) * 1_000,
            body=bodies,
            **{f"c{kind}": cells[:, kind] for kind in range(rows.KINDS)},
        )

    def _labels(
        self,
        records: pd.DataFrame,
        times: npt.NDArray[np.int64],
        cells: npt.NDArray[np.int32],
        bodies: list[bytes],
    ) -> Iterator[pd.DataFrame]:
        """Yield a row for each entity that the label tells about."""
        every = np.array(bodies, dtype=object)
        for kind in range(rows.KINDS):
            there = np.flatnonzero(cells[:, kind] >= 0)
            if len(there):
                yield rows.frame(
                    len(there),
                    what=rows.LABEL,
                    kind=kind,
                    bucket=cells[there, kind] % self.plan.buckets,
                    time=times[there],
                    part=records["partition"].to_numpy()[there],
                    off=records["offset"].to_numpy()[there],
                    body=every[there],
                )

    def _letters(self, records: pd.DataFrame, refused: list[tuple[int, bytes]]) -> pd.DataFrame:
        taken = records.take([at for at, _ in refused])
        return rows.frame(
            len(refused),
            what=rows.LETTER,
            part=taken["partition"].to_numpy(),
            off=taken["offset"].to_numpy(),
            body=[letter for _, letter in refused],
        )

    def _clocks(self, newest: int) -> pd.DataFrame:
        """Return a row for every bucket of every kind: each must know how far the whole batch went."""
        buckets = self.plan.buckets
        return rows.frame(
            buckets * rows.KINDS,
            what=rows.CLOCK,
            kind=np.repeat(np.arange(rows.KINDS), buckets),
            bucket=np.tile(np.arange(buckets), rows.KINDS),
            time=newest,
        )
