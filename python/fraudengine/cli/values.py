"""Values that commands take as text: durations and moments."""

from __future__ import annotations

import datetime as dt

from fraudengine.datasets.durations import parse_micros
from fraudengine.errors import ConfigError

__all__ = ["duration", "moment"]


def duration(text: str) -> dt.timedelta:
    """Return a duration such as `7d` or `1h30m`.

    Raises
    ------
    ConfigError
        The text is not a duration.
    """
    return dt.timedelta(microseconds=parse_micros(text))


def moment(text: str) -> dt.datetime:
    """Return a moment in ISO 8601, a date being its first instant; UTC when no zone is written.

    Raises
    ------
    ConfigError
        The text is not a moment.
    """
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a moment; write for example 2018-08-08 or 2018-08-08T12:00Z"
        ) from error
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
