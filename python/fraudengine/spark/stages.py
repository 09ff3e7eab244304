"""The stages with state: customers, then the other kinds of entity, then the decision.

Each is a processor of Spark's `transformWithStateInPandas`, grouped by bucket; its state is a map from cell
to the native state of the cell's entities, which only native code reads. A stage reads and writes the cells
that a batch touches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from fraudengine import _native
from fraudengine.spark import rows
from fraudengine.spark.reading import Plan, native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraudengine.activation import Activation

__all__ = ["Customers", "Others", "Settling"]

_NEVER: Final = -(2**63)
_PACKED: Final = 90
_DUPLICATE: Final = 1


class _Stage(StatefulProcessor):  # type: ignore[misc]  # Any: pyspark is not followed
    """What the stages share: cells by number in a map of the state store."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state."""
        self._cells = handle.getMapState("cells", "cell int", "state binary")

    def close(self) -> None:
        """Nothing is held beside the state."""

    def handleInputRows(
        self,
        key: Any,  # noqa: ANN401
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: ANN401
    ) -> Iterator[pd.DataFrame]:
        """Take in the rows of a group, all of one kind and bucket."""
        yield from self._take_in(key, rows)

    def _take_in(self, key: Any, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:  # noqa: ANN401
        raise NotImplementedError

    def _fetch(self, cells: list[int]) -> list[bytes | None]:
        found = (self._cells.getValue((cell,)) for cell in cells)
        return [None if state is None else bytes(state[0]) for state in found]

    def _keep(self, states: list[tuple[int, bytes]]) -> None:
        for cell, state in states:
            self._cells.updateValue((cell,), (state,))


class _Updating(_Stage):
    """A stage that lets entities take in rows; it also knows the clock and the labels that wait."""

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state."""
        super().init(handle)
        self._clock = handle.getValueState("clock", "newest long")
        self._waiting = handle.getValueState("waiting", "labels binary")

    def _step(self, kind: int, mine: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Let a kind take in the rows of a bucket; return the transactions and what came of them."""
        what = mine["what"].to_numpy()
        known = self._clock.get()
        before = _NEVER if known is None else int(known[0])
        clocks = mine["time"].to_numpy()[what == rows.CLOCK]
        # Without transactions nothing becomes known, as in the engine.
        after = max(before, int(clocks.max())) if len(clocks) else _NEVER
        taken = mine[what == rows.TRANSACTION]
        labels = mine[what == rows.LABEL].sort_values(["part", "off"], kind="stable")
        waiting = self._waiting.get()
        told = native(self.plan).step(
            kind,
            list(taken["body"]),
            None if kind == 0 else taken["flags"].to_numpy(np.uint8).tolist(),
            list(labels["body"]),
            None if waiting is None else bytes(waiting[0]),
            before,
            after,
            self._fetch,
        )
        self._keep(told["states"])
        if len(labels) or waiting is not None:
            self._waiting.update((told["waiting"],))
        if after > before:
            self._clock.update((after,))
        return taken, told


def _pieces(features: np.ndarray[Any, np.dtype[np.float32]], count: int) -> list[bytes]:
    """Cut the features of `count` rows into the bytes of each."""
    whole = features.astype("<f4", copy=False).tobytes()
    width = len(whole) // max(count, 1)
    return [whole[at * width : (at + 1) * width] for at in range(count)]


class Customers(_Updating):
    """The customers: they tell which transactions are late and which are repeated."""

    def _take_in(self, key: Any, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:  # noqa: ANN401
        # Rows of other kinds pass.
        every = rows.joined(frames)
        own = (every["kind"].to_numpy() == 0) & (every["what"].to_numpy() != rows.LETTER)
        if not own.all():
            yield every[~own]
        if not own.any():
            return
        taken, told = self._step(0, every[own])
        if len(taken) == 0:
            return
        whole = taken.assign(flags=told["flags"], features=_pieces(told["features"], len(taken)))
        yield whole
        fresh = whole[whole["flags"].to_numpy() & _DUPLICATE == 0]
        for kind in range(1, rows.KINDS):
            named = fresh[fresh[f"c{kind}"].to_numpy() >= 0]
            if len(named):
                yield named.assign(
                    kind=kind,
                    bucket=named[f"c{kind}"].to_numpy() % self.plan.buckets,
                    body=[body[:_PACKED] for body in named["body"]],
                    features=None,
                )


class Others(_Updating):
    """Cards, devices, merchants and addresses, each kind in its own buckets."""

    def _take_in(self, key: Any, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:  # noqa: ANN401
        kind = int(key[0])
        if kind == 0:
            # What belongs to customers passes.
            yield from frames
            return
        taken, told = self._step(kind, rows.joined(frames))
        if len(taken):
            yield taken.assign(
                flags=told["flags"], features=_pieces(told["features"], len(taken)), body=None, bucket=0
            )


@lru_cache(maxsize=2)
def _deciding(plan: Plan, model: _Model) -> _native.Keyed:
    """Return the native side with a model, made once in each worker process."""
    keyed = _native.Keyed(plan.settings, cells=plan.cells)
    keyed.activate(model.activation)
    return keyed


class _Model:
    """A model that can be told from another by its hash."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    def __hash__(self) -> int:
        return hash(self.activation["bundle_hash"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and self.activation == other.activation


class Settling(_Stage):
    """The decision: pieces of a transaction become one row of features, which the model scores."""

    def __init__(self, plan: Plan, activation: Activation) -> None:
        super().__init__(plan)
        self._model = _Model(activation)
        entities = [entity for _, entity, *_ in _native.catalogue_features()]
        kinds = ["customer", "card", "device", "merchant", "ip"]
        self._columns = [(entities.index(kind), entities.count(kind)) for kind in kinds]

    def _take_in(self, key: Any, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:  # noqa: ANN401
        every = rows.joined(frames)
        what = every["what"].to_numpy()
        if (what == rows.LETTER).any():
            yield _letters(every[what == rows.LETTER])
        pieces = every[what == rows.TRANSACTION]
        whole = pieces[pieces["kind"].to_numpy() == 0]
        if len(whole) == 0:
            return
        # Sorted by place in the order: the row of a piece is the number of customers' pieces up to it.
        at = np.cumsum(pieces["kind"].to_numpy() == 0) - 1
        features = np.full((len(whole), sum(count for _, count in self._columns)), np.nan, np.float32)
        flags = np.zeros(len(whole), np.uint8)
        for kind, (first, count) in enumerate(self._columns):
            mine = pieces["kind"].to_numpy() == kind
            values = np.frombuffer(b"".join(pieces["features"][mine]), "<f4").reshape(-1, count)
            features[at[mine], first : first + count] = values
            flags[at[mine]] |= pieces["flags"].to_numpy(np.uint8)[mine]
        told = _deciding(self.plan, self._model).settle(
            list(whole["body"]),
            features,
            flags.tolist(),
            whole["part"].to_numpy(np.int64),
            whole["off"].to_numpy(np.int64),
            whole["stamp"].to_numpy(np.int64),
            self._fetch,
        )
        self._keep(told["states"])
        yield _decided(whole, flags, told)


def _decided(whole: pd.DataFrame, flags: np.ndarray[Any, Any], told: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "what": rows.TRANSACTION,
            "time": whole["time"].to_numpy(),
            "part": whole["part"].to_numpy(),
            "off": whole["off"].to_numpy(),
            "flags": flags.astype(np.int32),
            "action": told["action"].astype(np.int32),
            "score": told["score"],
            "margin": told["margin"],
            "anomaly": told["anomaly"],
            "key": told["keys"],
            "record": told["records"],
        }
    )


def _letters(letters: pd.DataFrame) -> pd.DataFrame:
    count = len(letters)
    none = np.full(count, np.nan, np.float32)
    return pd.DataFrame(
        {
            "what": rows.LETTER,
            "time": 0,
            "part": letters["part"].to_numpy(),
            "off": letters["off"].to_numpy(),
            "flags": 0,
            "action": 0,
            "score": none,
            "margin": none,
            "anomaly": none,
            "key": pd.Series([None] * count, dtype=object),
            "record": letters["body"].to_numpy(),
        }
    )
