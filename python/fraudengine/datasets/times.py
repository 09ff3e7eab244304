"""Event times, from whatever a file holds to microseconds since 1970-01-01 UTC.

Numbers need a unit; when none is given it is found from the median, because the years 2000 to 2100 in
seconds, milliseconds, microseconds and nanoseconds do not overlap. Texts are ISO 8601 unless a pattern
is given. Times without a zone belong to the stated zone; a time that its zone skips or repeats (the hours
of the clock change) is refused, never guessed. Digits below a microsecond are dropped.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from fraudengine.datasets.options import ReadOptions, TimeUnit
from fraudengine.errors import ConfigError, SchemaError
from fraudengine.schema import EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS, TIME

__all__ = ["TimeReader"]

_PER_SECOND: Final = {
    TimeUnit.SECONDS: 1,
    TimeUnit.MILLIS: 1_000,
    TimeUnit.MICROS: 1_000_000,
    TimeUnit.NANOS: 1_000_000_000,
}
_MIN_SECONDS: Final = EVENT_TIME_MIN_MICROS // 1_000_000
_MAX_SECONDS: Final = EVENT_TIME_MAX_MICROS // 1_000_000
_ISO_PATTERNS: Final = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
)
_NUMBER: Final = r"^\s*-?\d{1,19}(\.\d*)?\s*$"
_SAMPLE_ROWS: Final = 100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class TimeReader:
    """Reads the time columns of one history.

    Attributes
    ----------
    unit
        How numbers and texts are to be taken; None detects it for each column.
    pattern
        strftime pattern of texts; None is ISO 8601.
    zone
        Zone of times written without one.
    """

    unit: TimeUnit | None
    pattern: str | None
    zone: ZoneInfo

    @classmethod
    def of(cls, options: ReadOptions) -> TimeReader:
        """Return the reader for these options.

        Raises
        ------
        ConfigError
            The time zone is not known.
        """
        try:
            zone = ZoneInfo(options.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"unknown time zone {options.time_zone!r}; write for example Europe/Paris"
            ) from error
        return cls(options.time_unit, options.time_format, zone)

    def convert(self, column: pl.Series, source: str) -> tuple[pl.Series, TimeUnit | None, str]:
        """Convert a column.

        Parameters
        ----------
        column
            Date, Datetime, integer, float or String column.
        source
            Its name in the file, for messages.

        Returns
        -------
        tuple
            The times (null where missing, unreadable by the columnar path or outside 2000 to 2100), the
            unit numbers were taken in (None if they were not numbers), and a notice (empty if none).

        Raises
        ------
        SchemaError
            The type cannot be a time, or numbers fit no unit.
        """
        dtype = column.dtype
        if isinstance(dtype, pl.Datetime | pl.Date):
            times = self._localised(column.cast(pl.Datetime("us", getattr(dtype, "time_zone", None))))
            return _in_range(times), None, self._zone_notice(dtype, source)
        if dtype == pl.String and self._is_numeric_text(column):
            column = column.str.strip_chars().cast(
                pl.Float64 if _has_point(column) else pl.Int64, strict=False
            )
        if column.dtype.is_numeric():
            unit, notice = self._unit_of(column, source)
            return _from_numbers(column, unit), unit, notice
        if dtype in (pl.String, pl.Null):
            return _in_range(self._from_texts(column.cast(pl.String))), None, ""
        raise SchemaError(f"column {source!r} is of type {dtype}, which cannot be a time")

    def explain(self, value: object, unit: TimeUnit | None) -> tuple[dt.datetime | None, str]:
        """Read one value the slow way: a time in range and an empty text, or None and the reason."""
        if unit is not None:
            return _explain_number(value, unit)
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)
        try:
            moment = value if isinstance(value, dt.datetime) else self._parse(str(value).strip())
        except ValueError:
            return None, "is not a time" + (f" of the form {self.pattern}" if self.pattern else " (ISO 8601)")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
            other = moment.replace(fold=1)
            if moment.utcoffset() != other.utcoffset():
                return None, f"does not exist once in {self.zone.key} (clock change)"
        return _bounded(moment)

    def _parse(self, text: str) -> dt.datetime:
        return dt.datetime.strptime(text, self.pattern) if self.pattern else dt.datetime.fromisoformat(text)

    def _is_numeric_text(self, column: pl.Series) -> bool:
        if self.unit == TimeUnit.ISO or self.pattern is not None:
            return False
        sample = column.drop_nulls().head(_SAMPLE_ROWS)
        numeric = sample.str.contains(_NUMBER).sum()
        return bool(self.unit) or (len(sample) > 0 and 2 * numeric > len(sample))

    def _unit_of(self, column: pl.Series, source: str) -> tuple[TimeUnit, str]:
        if self.unit == TimeUnit.ISO:
            raise SchemaError(f"column {source!r} holds numbers, not ISO 8601 texts; drop --time-unit iso")
        if self.unit is not None:
            return self.unit, ""
        values = column.cast(pl.Float64).fill_nan(None).drop_nulls()
        if values.is_empty():
            return TimeUnit.MICROS, ""
        median = float(values.sort()[len(values) // 2])
        for unit, per_second in _PER_SECOND.items():
            if _MIN_SECONDS * per_second <= median < _MAX_SECONDS * per_second:
                return unit, f"times in {source!r} are taken as {unit.value} since 1970-01-01 UTC"
        raise SchemaError(
            f"column {source!r} holds numbers around {median:.0f}, no time between 2000 and 2100 in "
            "s, ms, us or ns since 1970; convert it or name another column with --time-column"
        )

    def _from_texts(self, column: pl.Series) -> pl.Series:
        patterns = (self.pattern,) if self.pattern else _ISO_PATTERNS
        sample = column.drop_nulls().head(_SAMPLE_ROWS)
        parsed = [(self._strptime(sample, pattern).count(), pattern) for pattern in patterns]
        best = max(parsed, key=lambda pair: pair[0])[1]
        return self._strptime(column, best)

    def _strptime(self, column: pl.Series, pattern: str) -> pl.Series:
        zoned = "%z" in pattern or "%#z" in pattern
        times = column.str.strptime(pl.Datetime("us", "UTC" if zoned else None), pattern, strict=False)
        return self._localised(times)

    def _localised(self, times: pl.Series) -> pl.Series:
        """Return times in UTC; null where the zone skips or repeats them."""
        if getattr(times.dtype, "time_zone", None) is None:
            times = times.dt.replace_time_zone(self.zone.key, ambiguous="null", non_existent="null")
        return times.dt.convert_time_zone("UTC")

    def _zone_notice(self, dtype: pl.DataType, source: str) -> str:
        if getattr(dtype, "time_zone", None) is None and self.zone.key == "UTC":
            return f"times in {source!r} carry no zone and are taken as UTC; say otherwise with --time-zone"
        return ""


def _in_range(times: pl.Series) -> pl.Series:
    micros = times.dt.epoch("us")
    kept = (micros >= EVENT_TIME_MIN_MICROS) & (micros < EVENT_TIME_MAX_MICROS)
    return pl.select(pl.when(kept).then(times)).to_series()


def _from_numbers(column: pl.Series, unit: TimeUnit) -> pl.Series:
    per_second = _PER_SECOND[unit]
    value = pl.col("value")
    # Bounded before the product, which wraps around silently.
    bounded = pl.when((value >= _MIN_SECONDS * per_second) & (value < _MAX_SECONDS * per_second)).then(value)
    if column.dtype.is_float():
        micros = (bounded.cast(pl.Float64) * (1_000_000 / per_second)).round().cast(pl.Int64, strict=False)
    elif per_second <= 1_000_000:
        micros = bounded.cast(pl.Int64, strict=False) * (1_000_000 // per_second)
    else:
        micros = bounded.cast(pl.Int64, strict=False) // (per_second // 1_000_000)
    return pl.DataFrame({"value": column}).select(micros.cast(TIME)).to_series()


def _has_point(column: pl.Series) -> bool:
    return bool(column.str.contains(".", literal=True).any())


def _explain_number(value: object, unit: TimeUnit) -> tuple[dt.datetime | None, str]:
    try:
        seconds = float(str(value)) / _PER_SECOND[unit]
    except ValueError:
        return None, f"is not a number of {unit.value} since 1970"
    if not _MIN_SECONDS <= seconds < _MAX_SECONDS:
        return None, f"is outside 2000-01-01 to 2100-01-01 in {unit.value} since 1970"
    return _EPOCH + dt.timedelta(seconds=seconds), ""


def _bounded(moment: dt.datetime) -> tuple[dt.datetime | None, str]:
    micros = (moment - _EPOCH) // dt.timedelta(microseconds=1)
    if not EVENT_TIME_MIN_MICROS <= micros < EVENT_TIME_MAX_MICROS:
        return None, "is outside 2000-01-01 to 2100-01-01"
    return moment.astimezone(dt.UTC), ""
