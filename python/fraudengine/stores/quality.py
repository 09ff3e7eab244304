"""How good the decisions were, by what became known since: by day, by score, and how far features have moved.

Counts by day are exact: they read alerts and labels, never all transactions. Scores and features are read
from a sample of the table's blocks, so that the time does not grow with the table; of the labelled frauds the
newest `FRAUDS_MAX` are all in it. What was sampled is told with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

import numpy as np
import numpy.typing as npt

from fraudengine.stores.rows import catalogue, micros

if TYPE_CHECKING:
    from fraudengine.stores.postgres import Postgres

__all__ = ["FRAUDS_MAX", "FeatureSample", "Quality", "QualityDay", "ScoredSample"]

FRAUDS_MAX = 10_000
"""Most labelled frauds in a sample of scores, the newest ones."""
_DRIFT_DAYS = 7
_FLAGGED = 2


@dataclass(frozen=True, slots=True)
class QualityDay:
    """A UTC day of event times in one currency (`None`: the reference); amounts in its minor units.

    Attributes
    ----------
    alerts
        Decisions that were not "approve".
    false_alerts
        Of these, found genuine by a verdict.
    frauds, caught
        Labelled frauds, and those of them among the alerts.
    amount_minor, caught_minor
        Their amounts.

    """

    day: date
    currency: str | None
    alerts: int
    false_alerts: int
    frauds: int
    caught: int
    amount_minor: int
    caught_minor: int


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """Scores with their outcome, row by row.

    Attributes
    ----------
    score
        float32, 0 to 1.
    is_fraud
        Whether a label says so; a transaction without one counts as genuine.
    amount_minor
        Minor units of `currency`.
    currency
        ISO 4217; empty: the reference currency.
    weight
        How many transactions each row stands for.
    rows_all
        Transactions of these days, estimated where a sample was taken.
    share
        Share of the genuine ones that was read, 0 to 1.
    frauds_all
        Labelled frauds of these days; more than are here when there are more than `FRAUDS_MAX`.
    days
        Length of the part of these days that has transactions, above 0.

    """

    score: npt.NDArray[np.float32]
    is_fraud: npt.NDArray[np.bool_]
    amount_minor: npt.NDArray[np.int64]
    currency: npt.NDArray[np.str_]
    weight: npt.NDArray[np.float64]
    rows_all: int
    share: float
    frauds_all: int
    days: float


@dataclass(frozen=True, slots=True)
class FeatureSample:
    """Features as they were recorded with decisions of the last days.

    Attributes
    ----------
    names
        Of the columns, the catalogue's.
    values
        float32 rows, NaN for missing.
    first_micros, last_micros
        Event times from and to.
    rows_read
        Decisions read, those without recorded features included.
    approved
        Rows of `values` that were approved: 0 when only flagged decisions carry features.
    share
        Share of the decisions of that time that was read, 0 to 1.

    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    first_micros: int
    last_micros: int
    rows_read: int
    approved: int
    share: float


class Quality:
    """Reads PostgreSQL. Every method raises `StoreError`, and `StoreTimeoutError` when `seconds` are over."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def days(self, first: date, last: date, *, seconds: float) -> tuple[QualityDay, ...]:
        """Return the days from `first` to `last`, both included, that have an alert or a labelled fraud."""
        rows = await self._postgres.rows(_DAYS, _range(first, last), seconds=seconds)
        return tuple(
            QualityDay(day, code or None, *(int(each) for each in figures)) for day, code, *figures in rows
        )

    async def scored(self, first: date, last: date, rows: int, *, seconds: float) -> ScoredSample:
        """Return about so many genuine transactions of some days, and the labelled frauds."""
        until = time.monotonic() + seconds
        values = _range(first, last) | {"most": FRAUDS_MAX}
        begun, labelled = (await self._postgres.rows(_EXTENT, values, seconds=_left(until)))[0]
        frauds = await self._postgres.rows(_FRAUDS, values, seconds=_left(until))
        estimate, percent = await self._percent(values, rows, until)
        values |= {"percent": percent, "most": 4 * rows}
        genuine = await self._postgres.rows(_GENUINE, values, seconds=_left(until))
        every = [*frauds, *genuine]
        frauds_all = max(len(frauds), labelled if len(frauds) == FRAUDS_MAX else 0)
        share = percent / 100
        fraud = np.arange(len(every)) < len(every) - len(genuine)
        return ScoredSample(
            score=np.array([row[0] for row in every], dtype=np.float32),
            is_fraud=fraud,
            amount_minor=np.array([row[1] for row in every], dtype=np.int64),
            currency=np.array([row[2] for row in every], dtype=np.str_),
            weight=np.where(fraud, frauds_all / max(1, len(frauds)), 1 / share),
            rows_all=len(every) if percent == _ALL else estimate,
            share=share,
            frauds_all=frauds_all,
            days=_length(values, begun),
        )

    async def features(self, rows: int, *, seconds: float) -> FeatureSample:
        """Return about so many decisions of the last days, those with recorded features."""
        until = time.monotonic() + seconds
        names, ours = catalogue()
        newest = (await self._postgres.rows(_NEWEST, seconds=_left(until)))[0][0]
        if newest is None:
            return FeatureSample(names, np.empty((0, len(names)), np.float32), 0, 0, 0, 0, 1.0)
        low = newest - timedelta(days=_DRIFT_DAYS)
        values: dict[str, object] = {"low": low, "high": newest + timedelta(microseconds=1)}
        _, percent = await self._percent(values, rows, until)
        # A hash is stored as the signed number of its bits.
        values |= {"percent": percent, "most": 2 * rows, "ours": ours - 2**64 if ours >= 2**63 else ours}
        found = await self._postgres.rows(_FEATURES, values, seconds=_left(until))
        recorded = [row for row in found if row[1] is not None and len(row[1]) == len(names)]
        return FeatureSample(
            names=names,
            values=np.array([row[1] for row in recorded], dtype=np.float32).reshape(-1, len(names)),
            first_micros=micros(low),
            last_micros=micros(newest),
            rows_read=len(found),
            approved=sum(row[0] < _FLAGGED for row in recorded),
            share=percent / 100,
        )

    async def models(self, rows: int, *, seconds: float) -> tuple[tuple[int | None, int], ...]:
        """Return the models (first 8 bytes of the bundle's hash) of the newest decisions, newest first."""
        found = await self._postgres.rows(_MODELS, {"most": rows}, seconds=seconds)
        return tuple((None if model is None else model % 2**64, count) for model, count in found)

    async def _percent(self, values: dict[str, object], rows: int, until: float) -> tuple[int, float]:
        """Return how many transactions there are about, and which share of the blocks has so many rows."""
        found = await self._postgres.rows(_ESTIMATE, values, seconds=_left(until))
        estimate = int(found[0][0])
        return estimate, _ALL if estimate <= 2 * rows else max(1e-4, _ALL * rows / estimate)


_ALL = 100.0


def _range(first: date, last: date) -> dict[str, object]:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    return {"low": start, "high": end}


def _length(values: dict[str, object], begun: datetime | None) -> float:
    """Return how many days there are from the first transaction to the end of the range."""
    low, high = values["low"], values["high"]
    assert isinstance(low, datetime)
    assert isinstance(high, datetime)
    return max(1.0, (high - max(low, begun or low)) / timedelta(days=1))


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())


_DAYS: LiteralString = (
    "WITH flagged AS (SELECT (a.event_time AT TIME ZONE 'UTC')::date AS day, "
    "coalesce(a.currency, '') AS code, count(*) AS alerts, "
    "count(*) FILTER (WHERE a.verdict = 'legitimate') AS false_alerts FROM alerts a "
    "WHERE a.event_time >= %(low)s AND a.event_time < %(high)s GROUP BY 1, 2), "
    "known AS (SELECT (l.event_time AT TIME ZONE 'UTC')::date AS day, coalesce(l.currency, '') AS code, "
    "count(*) AS frauds, count(a.transaction_id) AS caught, sum(l.amount_minor) AS amount, "
    "coalesce(sum(l.amount_minor) FILTER (WHERE a.transaction_id IS NOT NULL), 0) AS amount_caught "
    "FROM labels l LEFT JOIN alerts a ON a.transaction_id = l.transaction_id "
    "WHERE l.is_fraud AND l.event_time >= %(low)s AND l.event_time < %(high)s GROUP BY 1, 2) "
    "SELECT day, code, coalesce(alerts, 0), coalesce(false_alerts, 0), coalesce(frauds, 0), "
    "coalesce(caught, 0), coalesce(amount, 0), coalesce(amount_caught, 0) "
    "FROM flagged FULL JOIN known USING (day, code) ORDER BY 1, 2"
)
_EXTENT: LiteralString = (
    "SELECT (SELECT min(event_time) FROM transactions "
    "WHERE event_time >= %(low)s AND event_time < %(high)s), "
    "(SELECT count(*) FROM labels WHERE is_fraud AND event_time >= %(low)s AND event_time < %(high)s)"
)
_FRAUDS: LiteralString = (
    "SELECT t.score, t.amount_minor, coalesce(t.currency, '') FROM ("
    "SELECT event_time, transaction_id FROM labels WHERE is_fraud AND event_time >= %(low)s "
    "AND event_time < %(high)s ORDER BY event_time DESC LIMIT %(most)s) AS l CROSS JOIN LATERAL ("
    # OFFSET 0: looked up one by one, by the key; to join whole days would read them.
    "SELECT score, amount_minor, currency FROM transactions "
    "WHERE event_time = l.event_time AND transaction_id = l.transaction_id AND score IS NOT NULL "
    "OFFSET 0) AS t"
)
_GENUINE: LiteralString = (
    "SELECT t.score, t.amount_minor, coalesce(t.currency, '') "
    "FROM transactions t TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1) "
    "WHERE t.event_time >= %(low)s AND t.event_time < %(high)s AND t.score IS NOT NULL AND NOT EXISTS ("
    "SELECT FROM labels l WHERE l.transaction_id = t.transaction_id AND l.is_fraud) LIMIT %(most)s"
)
_FEATURES: LiteralString = (
    "SELECT action, CASE WHEN catalogue = %(ours)s THEN features END "
    "FROM transactions TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1) "
    "WHERE event_time >= %(low)s AND event_time < %(high)s LIMIT %(most)s"
)
_NEWEST: LiteralString = "SELECT max(event_time) FROM transactions"
_MODELS: LiteralString = (
    "SELECT model, count(*) FROM (SELECT model, decided_time FROM transactions "
    "ORDER BY event_time DESC, transaction_id DESC LIMIT %(most)s) AS newest "
    "GROUP BY model ORDER BY max(decided_time) DESC"
)
# Of each day's partition, cut to the asked time. One that was never analysed is told by its size: rows take
# some 400 bytes.
_ESTIMATE: LiteralString = (
    "SELECT coalesce(sum(CASE WHEN c.reltuples < 0 THEN pg_relation_size(c.oid) / 400 ELSE c.reltuples END * "
    "CASE WHEN d.day IS NULL THEN 1 ELSE "
    "greatest(0, extract(epoch FROM least(%(high)s, d.day + interval '1 day') "
    "- greatest(%(low)s, d.day)) / 86400) END), 0)::bigint "
    "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid CROSS JOIN LATERAL ("
    "SELECT CASE WHEN c.relname ~ '^transactions_[0-9]{8}$' "
    "THEN to_timestamp(right(c.relname, 8), 'YYYYMMDD') END AS day) AS d "
    "WHERE i.inhparent = 'transactions'::regclass "
    "AND (d.day IS NULL OR (d.day < %(high)s AND d.day + interval '1 day' > %(low)s))"
)
