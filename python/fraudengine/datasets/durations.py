"""Durations as people write them (`7d`, `12h`, `30m`, `1h30m`), exactly, in whole microseconds.

Used by the command line and by `ReadOptions`. There is no unit by default: a bare number is refused,
because a delay of `7` has been read as days by one person and as seconds by the next.
"""

from __future__ import annotations

import re
from typing import Final

from fraudengine.errors import ConfigError

__all__ = ["format_micros", "parse_micros"]

_UNITS: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_PART: Final = re.compile(r"(\d{1,12})(us|ms|[wdhms])")
_MICROS_MAX: Final = 100 * 366 * _UNITS["d"]


def parse_micros(text: str) -> int:
    """Return a duration in microseconds.

    Parameters
    ----------
    text
        One or more whole numbers with a unit each (w, d, h, m = minutes, s, ms, us), for example `7d`
        or `1h30m`. `0` alone is accepted, because zero needs no unit.

    Returns
    -------
    int
        Microseconds, 0 to 100 years.

    Raises
    ------
    ConfigError
        The text is not a duration, or is longer than 100 years.

    Examples
    --------
    >>> from fraudengine.datasets.durations import parse_micros
    >>> parse_micros("1h30m")
    5400000000
    """
    compact = text.strip()
    if compact == "0":
        return 0
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ConfigError(f"{text!r} is not a duration; write for example 7d, 12h, 30m or 1h30m")
    micros = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if micros > _MICROS_MAX:
        raise ConfigError(f"the duration {text!r} is longer than 100 years")
    return micros


def format_micros(micros: int) -> str:
    """Return the shortest text that `parse_micros` reads as the same duration.

    Raises
    ------
    ConfigError
        The duration is negative.
    """
    if micros < 0:
        raise ConfigError(f"a duration cannot be negative: {micros} us")
    text, rest = "", micros
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0"
