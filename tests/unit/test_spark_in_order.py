"""Sorted rows as a replay on Spark hands them to its stages: wherever Spark cuts them, the same pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.spark import rows
from fraudengine.spark.in_order import PLACE, InOrder

# Of each transaction: its home, and how many kinds of entity it names.
TRANSACTIONS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=40)


class Counting:
    """A stage that says of each piece its key, its size, and how many pieces this stage has had."""

    def init(self, handle: Any) -> None:
        """Open the state."""
        self.state = handle.getValueState("pieces", "count long")

    def handleInputRows(self, key: Any, frames: Iterator[pd.DataFrame], _: Any) -> Iterator[pd.DataFrame]:
        """Tell the number of the piece."""
        (piece,) = frames
        before = self.state.get()
        count = 1 if before is None else before[0] + 1
        self.state.update((count,))
        yield piece.assign(what=count, bucket=key[0])


def sorted_rows(transactions: list[tuple[int, int]]) -> pd.DataFrame:
    made = [
        {
            "what": rows.TRANSACTION,
            "home": home,
            "bucket": home,
            "time": 10 + number // 3,
            "off": number,
            "kind": kind,
        }
        for number, (home, kinds) in enumerate(sorted(transactions))
        for kind in range(kinds)
    ]
    columns = {name: np.array([each[name] for each in made], np.int64) for name in made[0]} if made else {}
    return rows.frame(len(made), **columns)


def cut(frame: pd.DataFrame, places: list[int]) -> list[pd.DataFrame]:
    bounds = sorted({min(place, len(frame)) for place in places} | {0, len(frame)})
    return [frame.iloc[begin:end] for begin, end in itertools.pairwise(bounds)] or [frame]


@given(TRANSACTIONS, st.lists(st.integers(0, 200), max_size=8))
def test_no_transaction_is_torn_where_it_is_settled(
    transactions: list[tuple[int, int]], places: list[int]
) -> None:
    frame = sorted_rows(transactions)
    seen: list[pd.DataFrame] = []
    stage = InOrder(Counting, ("home",), lambda made: made)
    seen.extend(stage(cut(frame, places)))
    together = pd.concat(seen, ignore_index=True) if seen else frame
    order = [*PLACE, "kind"]
    assert together[order].to_numpy().tolist() == frame[order].to_numpy().tolist()
    wholes = [set(piece["off"]) for piece in seen]
    assert sum(map(len, wholes)) == len(set().union(*wholes)), "in one piece each"


@given(TRANSACTIONS, st.lists(st.integers(0, 200), max_size=8))
def test_each_bucket_has_a_state_of_its_own_and_its_own_clock(
    transactions: list[tuple[int, int]], places: list[int]
) -> None:
    frame = sorted_rows(transactions)
    told = list(InOrder(Counting, ("bucket",))(cut(frame, places)))
    # A row more in each piece: its clock, the newest of its times (`Counting` makes it one that travels on).
    assert sum(map(len, told)) == len(frame) + len(told)
    assert all(piece["time"].iloc[-1] == piece["time"].max() for piece in told)
    buckets = [int(piece["bucket"].iloc[0]) for piece in told]
    assert buckets == sorted(buckets)
    for bucket in set(buckets):
        counts = [int(piece["what"].iloc[0]) for piece in told if piece["bucket"].iloc[0] == bucket]
        assert counts == list(range(1, len(counts) + 1))
