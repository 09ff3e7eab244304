"""How figures are written: thousands, money, durations, times of the reader's zone with UTC beside them.

Pure but for `zone`, which asks the reader's browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

__all__ = [
    "ACTIONS",
    "ago",
    "code",
    "count",
    "customer_link",
    "duration",
    "instant",
    "minor_of_major",
    "money",
    "moneys",
    "share",
    "zone",
]

ACTIONS = {"approve": "✓ approve", "review": "◐ review", "block": "✕ block"}
"""Actions as they are shown: colours alone say nothing to some readers."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINOR_DIGITS = dict.fromkeys(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ),
    0,
) | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


def count(number: float) -> str:
    """Return a count with separators; below ten, a rate keeps one digit."""
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:,.1f}"


def share(part: float) -> str:
    """Return a share, 0 to 1, in percent with as many digits as tell something."""
    percent = part * 100
    return f"{percent:.2f}%" if percent < 10 else f"{percent:.1f}%"


def minor_of_major(currency: str) -> int:
    """Return how many minor units one major unit of a currency has."""
    return int(10 ** _MINOR_DIGITS.get(currency, 2))


def money(amount_minor: int, currency: str | None, reference: str) -> str:
    """Return an amount in major units of its currency; `None` is the reference currency."""
    name = currency or reference
    digits = _MINOR_DIGITS.get(name, 2)
    return f"{amount_minor / 10**digits:,.{digits}f} {name}"


def moneys(amounts_minor: Mapping[str | None, int], reference: str) -> list[str]:
    """Return sums by currency, the largest number first; amounts of two currencies are never added."""
    named: dict[str, int] = {}
    for currency, amount in amounts_minor.items():
        named[currency or reference] = named.get(currency or reference, 0) + amount
    ordered = sorted(named.items(), key=lambda each: -each[1])
    return [money(amount, currency, reference) for currency, amount in ordered]


def duration(micros: float) -> str:
    """Return a length of time in the unit that fits; -1 is beyond the last bucket of a histogram."""
    if micros < 0:
        return "> 60 s"
    for limit, unit, divisor in ((1e3, "µs", 1.0), (1e6, "ms", 1e3), (60e6, "s", 1e6)):
        if micros < limit:
            value = micros / divisor
            return f"{value:.0f} {unit}" if value >= 100 or unit == "µs" else f"{value:.1f} {unit}"
    return f"{micros / 60e6:,.0f} min"


def ago(seconds: float) -> str:
    """Return how long ago something was."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s ago"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3_600:,.0f} h ago" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days ago"


def instant(micros: int, where: tzinfo) -> str:
    """Return a time of the reader's zone, with UTC beside it."""
    at = _EPOCH + timedelta(microseconds=micros)
    return f"{at.astimezone(where):%Y-%m-%d %H:%M:%S %Z} ({at:%H:%M:%S} UTC)"


def code(value: object) -> str:
    """Return text as it is, whatever Markdown it would be: ids come from outside."""
    text = str(value).replace("`", "'")
    return f"`{text}`"


def customer_link(customer_id: str, page: str = "customer") -> str:
    """Return a link to what another page says about a customer, as Markdown."""
    return f"[{code(customer_id)}](./{page}?customer={quote(customer_id, safe='')})"


def zone() -> tzinfo:
    """Return the time zone of the reader's browser; UTC where it does not say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
