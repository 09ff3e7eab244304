"""What travels between the stages: one schema for all of them, and how its columns are made.

A row is one of four things (`what`). A *transaction* begins as one row with its customer and becomes one row
a kind of entity that it names, which come together again in the last stage. A *label* is one row for each
kind. A *clock* tells a bucket the newest event time of the batch. A *letter* is a refused record on its way
to `dead-letter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CLOCK",
    "DECIDED",
    "KINDS",
    "LABEL",
    "LETTER",
    "TRANSACTION",
    "TRAVELLING",
    "frame",
    "joined",
]

CLOCK: Final = 0
LABEL: Final = 1
TRANSACTION: Final = 2
LETTER: Final = 3

KINDS: Final = 5
"""Kinds of entity, in the order of the feature columns; 0 is the customer."""

TRAVELLING: Final = (
    "what int, kind int, bucket int, home int, time long, part int, off long, stamp long, flags int, "
    "c0 int, c1 int, c2 int, c3 int, c4 int, body binary, features binary"
)
"""Rows between stages.

`bucket` is the bucket of the entity of this kind, `home` the customer's; `time` the event time (of a label
the time it was known), `stamp` the broker's time in microseconds; `c0` to `c4` the cells, -1: none."""

DECIDED: Final = (
    "what int, time long, part int, off long, flags int, action int, score float, margin float, "
    "anomaly float, key binary, record binary"
)
"""Rows of the last stage: `record` is the message of `decisions` or `dead-letter`."""

_COLUMNS: Final = [column.split()[0] for column in TRAVELLING.split(", ")]
_BYTES: Final = frozenset({"body", "features"})


def frame(rows: int, **columns: Any) -> pd.DataFrame:  # noqa: ANN401
    """Return travelling rows; a column that is not given is 0, bytes are absent."""
    made = {}
    for name in _COLUMNS:
        given = columns.get(name)
        if given is None:
            made[name] = (
                pd.Series([None] * rows, dtype=object) if name in _BYTES else np.zeros(rows, np.int32)
            )
        elif np.isscalar(given):
            made[name] = np.full(rows, given)
        else:
            made[name] = given
    return pd.DataFrame(made, columns=_COLUMNS)


def joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of one bucket in the order in which they are decided.

    By event time, then by place in the topic: the order of a batch that no number of tasks changes.
    """
    every = list(frames)
    together = every[0] if len(every) == 1 else pd.concat(every, ignore_index=True)
    return together.sort_values(["time", "part", "off", "kind"], kind="stable", ignore_index=True)
