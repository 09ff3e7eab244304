"""Transaction histories in: readers for Parquet, CSV and JSON lines, column mapping, exact amounts.

Start at `read_history`; `ReadOptions` says what it can be told. Synthetic histories come from
`fraudengine.datasets.synthetic`.
"""

from __future__ import annotations

from fraudengine.datasets.options import PRESETS, HistoryFormat, ReadOptions, TimeUnit
from fraudengine.datasets.read import History, read_history, write_history

__all__ = [
    "PRESETS",
    "History",
    "HistoryFormat",
    "ReadOptions",
    "TimeUnit",
    "read_history",
    "write_history",
]
