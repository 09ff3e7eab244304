"""The fold one kind of entity at a time, from states that a caller keeps, equals the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from wire_messages import label_bytes, transaction_bytes

from fraudengine import _native, config, features
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.engine import Engine, Flag
from fraudengine.errors import SnapshotError

_CELLS = 64
_NEVER = -(2**63)
_KINDS = 5


def _keyed(cells: int = _CELLS) -> _native.Keyed:
    return _native.Keyed(config.load().native_json(only=()), cells=cells)


class _Runner:
    """Keeps what a runner keeps: states by kind and cell, labels that wait, the newest time."""

    def __init__(self) -> None:
        self.native = _keyed()
        self.states: dict[tuple[int, int], bytes] = {}
        self.waiting: list[bytes | None] = [None] * _KINDS
        self.newest = _NEVER

    def fetch(self, kind: int) -> Callable[[list[int]], list[bytes | None]]:
        return lambda cells: [self.states.get((kind, cell)) for cell in cells]

    def keep(self, kind: int, told: dict[str, Any]) -> None:
        self.states.update({(kind, cell): state for cell, state in told["states"]})

    def take_in(self, messages: list[bytes], labels: list[bytes]) -> tuple[dict[str, Any], Any, Any]:
        """Decide one batch; return what was settled, the features and the flags, in the order decided."""
        _, label_rows = self._read(labels, labels=True)
        (_, times, cells, bodies), rows = self._read(messages, labels=False)
        order = np.argsort(times, kind="stable")
        bodies = [bodies[at] for at in order]
        cells = cells.reshape(-1, _KINDS)[order]
        before, after = self.newest, max(self.newest, int(times.max()))
        entities = [entity for _, entity, *_ in _native.catalogue_features()]
        matrix = np.full((len(rows), len(entities)), np.nan, np.float32)
        flags: Any = None
        column = 0
        for kind, name in enumerate(("customer", "card", "device", "merchant", "ip")):
            fresh = np.ones(len(rows), bool) if flags is None else flags & Flag.DUPLICATE == 0
            mine = np.flatnonzero((cells[:, kind] >= 0) & fresh)
            told = self.native.step(
                kind,
                [bodies[at] for at in mine],
                None if flags is None else flags[mine].tolist(),
                label_rows,
                self.waiting[kind],
                before,
                after,
                self.fetch(kind),
            )
            self.keep(kind, told)
            self.waiting[kind] = told["waiting"]
            width = entities.count(name)
            matrix[mine, column : column + width] = told["features"].reshape(-1, width)
            column += width
            if flags is None:
                flags = told["flags"].copy()
            else:
                flags[mine] |= told["flags"]
        self.newest = after
        nothing = np.zeros(len(rows), np.int64)
        settled = self.native.settle(
            bodies, matrix, flags.tolist(), nothing, nothing, nothing, self.fetch(_KINDS)
        )
        self.keep(_KINDS, settled)
        return settled, matrix, (flags, order)

    def _read(self, values: list[bytes], *, labels: bool) -> tuple[Any, list[bytes]]:
        nothing = np.zeros(len(values), np.int64)
        found, refused = self.native.read(values, nothing, nothing, nothing, labels)
        assert refused == []
        return found, found[3]


def test_states_of_a_caller_give_the_engines_features() -> None:
    history = generate(
        SyntheticConfig(
            customers=60,
            merchants=50,
            days=12,
            fraud_rate=0.05,
            duplicate_rate=0.03,
            late_rate=0.05,
            late_seconds_max=86_400,
            seed=4,
        )
    )
    messages = [value for _, value in transaction_bytes(history)]
    labels = list(label_bytes(history))
    engine, runner = Engine(), _Runner()
    seen = 0
    for number, first in enumerate(range(0, len(messages), 31)):
        part = slice(first, first + 31)
        settled, matrix, (flags, order) = runner.take_in(messages[part], labels if number == 0 else [])
        frame = history[part][order.tolist()]
        known = features.labels_of(history) if number == 0 else None
        expected = engine.process(frame, known, features=True)
        assert expected.features is not None
        np.testing.assert_array_equal(matrix, expected.features)
        np.testing.assert_array_equal(flags, expected.flags)
        np.testing.assert_array_equal(settled["action"], expected.action)
        seen |= int(np.bitwise_or.reduce(flags))
    assert seen & Flag.DUPLICATE
    assert seen & Flag.LATE


def test_a_foreign_state_is_refused() -> None:
    history = generate(SyntheticConfig(customers=10, merchants=50, days=2, seed=1))
    message = next(value for _, value in transaction_bytes(history))
    zero = np.zeros(1, np.int64)
    (_, _, _, bodies), _ = _keyed().read([message], zero, zero, zero, labels=False)

    def step(keyed: _native.Keyed, kind: int, state: bytes | None) -> dict[str, Any]:
        flags = None if kind == 0 else [0]
        return keyed.step(kind, bodies, flags, [], None, _NEVER, 0, lambda cells: [state] * len(cells))

    [(_, state)] = step(_keyed(), 0, None)["states"]
    assert step(_keyed(), 0, state)["states"]
    with pytest.raises(SnapshotError, match="number of cells is 64"):
        step(_keyed(65), 0, state)
    with pytest.raises(SnapshotError, match="kind of a cell is 0"):
        step(_keyed(), 3, state)
    with pytest.raises(SnapshotError, match="checksum"):
        step(_keyed(), 0, state[:-1] + bytes([state[-1] ^ 1]))


def test_what_is_no_transaction_becomes_a_dead_letter() -> None:
    one = np.zeros(1, np.int64)
    (at, _, _, bodies), refused = _keyed().read([b"\xff\xff"], one, one, one, labels=False)
    assert len(at) == len(bodies) == 0
    assert [row for row, _ in refused] == [0]
