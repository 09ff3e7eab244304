"""Transactions as tables: what a list shows of each, how its cells are written, and the same as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from fraudengine.dashboard.charts import ACTION_COLOURS
from fraudengine.dashboard.text import ACTIONS, minor_of_major

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from fraudengine.stores import FeedEntry, StoredTransaction

__all__ = ["as_csv", "frame", "styled"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def frame(told: Sequence[FeedEntry | StoredTransaction], where: tzinfo, reference: str) -> pd.DataFrame:
    """Return one row for each transaction; amounts in major units of their own currency.

    Parameters
    ----------
    told
        The transactions.
    where
        Time zone of the column `time`.
    reference
        Currency of transactions that name none.

    """
    columns: dict[str, list[Any]] = {
        "time": [
            (_EPOCH + timedelta(microseconds=each.event_time_micros)).astimezone(where) for each in told
        ],
        "action": [ACTIONS[each.action] for each in told],
        "score": [each.score for each in told],
        "amount": [each.amount_minor / minor_of_major(each.currency or reference) for each in told],
        "currency": [each.currency or reference for each in told],
        "channel": [each.channel or "" for each in told],
        "country": [each.country or "" for each in told],
        "customer": [each.customer_id for each in told],
        "merchant": [each.merchant_id or "" for each in told],
        "reason": [each.reasons[0].feature if each.reasons else "" for each in told],
        "transaction": [each.transaction_id for each in told],
    }
    if not any(columns["reason"]):
        # The live feed tells none.
        del columns["reason"]
    return pd.DataFrame(columns).astype({"score": "float64", "amount": "float64"})


def styled(table: pd.DataFrame) -> Styler:
    """Return a table with numbers as people read them and actions in their colours."""
    formats = {"score": "{:.3f}", "amount": "{:,.2f}"}
    return table.style.format(formats, na_rep="", subset=list(formats)).map(_coloured, subset=["action"])


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV with times in UTC; no cell can be taken for a formula by a spreadsheet."""
    told = table.copy()
    for name in told.columns:
        if isinstance(told[name].dtype, pd.DatetimeTZDtype):
            told[name] = told[name].dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        elif not pd.api.types.is_numeric_dtype(told[name].dtype):
            told[name] = told[name].map(_harmless)
    text: str = told.to_csv(index=False)
    return text.encode()


def _coloured(action: str) -> str:
    name = action.rpartition(" ")[2]
    return f"color: {ACTION_COLOURS[name]}; font-weight: 600"


def _harmless(value: Any) -> Any:  # noqa: ANN401 - a cell may be anything
    if not isinstance(value, str):
        return value
    plain = value.split(" ", 1)[1] if value in ACTIONS.values() else value
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
