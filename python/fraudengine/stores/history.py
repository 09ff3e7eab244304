"""What PostgreSQL holds: decided transactions, alerts, labels.

`transactions` is searched backwards in time, piece by piece. A piece never crosses a day, so that one
partition is read with its own index, and it grows while pieces are quick: a page costs what it shows, and a
search that finds little stops in time and says where it goes on. Nothing is skipped by counting rows.

What is rare is found by the look-up indexes instead (`postgres.lookup_indexes`): a customer's transactions at
once, a merchant's when the newest pieces did not fill the page.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from fraudengine.errors import StoreTimeoutError
from fraudengine.schema import CHANNELS, EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS
from fraudengine.stores.days import DAY_MICROS, Span, chunks, spans
from fraudengine.stores.records import ACTIONS, Alert, KnownLabel, StoredTransaction, Writer
from fraudengine.stores.rows import (
    ALERT_COLUMNS,
    FOUND_COLUMNS,
    LISTED_COLUMNS,
    STATE_COLUMNS,
    alert_of,
    alert_state,
    found,
    listed,
    micros,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from fraudengine.stores.postgres import Postgres

__all__ = ["Filter", "History", "Page", "Place"]

_HOUR_MICROS = DAY_MICROS // 24
_QUICK_SECONDS, _SLOW_SECONDS = 0.02, 0.2
_PIECE_MICROS_MIN = _HOUR_MICROS // 60
# Of the time that there is, a page begins new pieces in this share, so that it is sent in time.
_SEARCH_SHARE = 0.6

# A merchant that did not fill the page in this time is rare enough for its index.
_RARE_SECONDS = 0.1

Place = tuple[int, str]
"""Event time in microseconds and transaction id: where a page ended."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transactions; all conditions hold together, `None` and empty are no condition.

    Attributes
    ----------
    from_micros, to_micros
        Event times, the end excluded.
    customer_id, merchant_id
        As in the transaction.
    actions
        Names of `ACTIONS`.
    score_min, score_max
        Bounds of the score, both included.
    amount_min_minor, amount_max_minor
        Bounds of the amount in minor units of its own currency, both included.
    channels
        Names of `fraudengine.schema.CHANNELS`.
    countries
        ISO 3166-1 alpha-2.

    """

    from_micros: int | None = None
    to_micros: int | None = None
    customer_id: str | None = None
    merchant_id: str | None = None
    actions: tuple[str, ...] = ()
    score_min: float | None = None
    score_max: float | None = None
    amount_min_minor: int | None = None
    amount_max_minor: int | None = None
    channels: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Transactions, newest event first, and where the next page begins; `None`: there is none.

    A page may be short, even empty, while there is a next one: its time was over.
    """

    transactions: tuple[StoredTransaction, ...]
    next: Place | None


class History:
    """Reads PostgreSQL. Every method raises `StoreError`, and `StoreTimeoutError` when `seconds` are over."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def find(
        self, transaction_id: str, event_time_micros: int | None = None, *, seconds: float
    ) -> StoredTransaction | None:
        """Return a transaction by its id, with its features; quick with its time, or where it was flagged."""
        until = time.monotonic() + seconds
        values: dict[str, object] = {"id": transaction_id}
        if event_time_micros is not None:
            return await self._at(transaction_id, moment(event_time_micros), until)
        for query in (_ALERT_BY_ID, _LABEL_TIME):
            rows = await self._postgres.rows(query, values, seconds=_left(until))
            if rows:
                there = await self._at(transaction_id, rows[0][1], until)
                # An alert outlives the transaction that `postgres.retention_days` has dropped.
                return there or (alert_of(rows[0]) if query is _ALERT_BY_ID else None)
        for span in chunks(await self._spans(None, None, until)):
            values |= {"low": moment(span.low), "high": moment(span.high)}
            rows = await self._postgres.rows(_BY_ID, values, seconds=_left(until), rare=True)
            if rows:
                return found(rows[0])
        return None

    async def _at(self, transaction_id: str, at: datetime, until: float) -> StoredTransaction | None:
        values = {"id": transaction_id, "time": at}
        rows = await self._postgres.rows(_BY_KEY, values, seconds=_left(until))
        return found(rows[0]) if rows else None

    async def page(self, wanted: Filter, size: int, after: Place | None = None, *, seconds: float) -> Page:
        """Return up to `size` transactions behind a place."""
        began = time.monotonic()
        until = began + seconds
        query, values = _listing(wanted)
        gathering = wanted.customer_id is not None
        all_spans = await self._spans(wanted.from_micros, wanted.to_micros, until)
        kept: list[StoredTransaction] = []
        at: Place = after or (EVENT_TIME_MAX_MICROS, "")
        piece, moved = _HOUR_MICROS, False
        for span in all_spans:
            top = min(span.high, at[0] + 1)
            while top > span.low:
                low = span.low if gathering else max(span.low, top - piece)
                values |= {"low": moment(low), "high": moment(top), "size": size - len(kept)}
                values |= {"at": moment(at[0]), "id": at[1]}
                since = time.monotonic()
                try:
                    chosen = _gathered(query) if gathering else query
                    rows = await self._postgres.rows(chosen, values, seconds=_left(until), rare=gathering)
                except StoreTimeoutError:
                    if not moved:
                        raise
                    return Page(tuple(kept), at)
                kept += map(listed, rows)
                if len(kept) >= size:
                    return Page(tuple(kept), (kept[-1].event_time_micros, kept[-1].transaction_id))
                now = time.monotonic()
                top, at, moved = low, (low, ""), True
                if now - began > seconds * _SEARCH_SHARE:
                    return Page(tuple(kept), at)
                piece = _adapted(min(piece, span.high - span.low), now - since)
                gathering = gathering or (wanted.merchant_id is not None and now - began > _RARE_SECONDS)
        return Page(tuple(kept), None)

    async def alerts_of(
        self, customer_id: str, most: int, *, seconds: float
    ) -> tuple[StoredTransaction, ...]:
        """Return the newest alerts of a customer, newest event first."""
        values = {"customer": customer_id, "most": most}
        rows = await self._postgres.rows(_ALERTS_OF, values, seconds=seconds)
        return tuple(map(alert_of, rows))

    async def label(self, transaction_id: str, *, seconds: float) -> KnownLabel | None:
        """Return the newest label of a transaction."""
        rows = await self._postgres.rows(_LABEL, {"id": transaction_id}, seconds=seconds)
        return KnownLabel(rows[0][0], micros(rows[0][1]), rows[0][2]) if rows else None

    async def labels_of(self, transaction_ids: Sequence[str], *, seconds: float) -> dict[str, KnownLabel]:
        """Return the newest labels of transactions by their ids."""
        rows = await self._postgres.rows(_LABELS, {"ids": list(transaction_ids)}, seconds=seconds)
        return {name: KnownLabel(fraud, micros(at), typology) for name, fraud, at, typology in rows}

    async def alert(self, transaction_id: str, *, seconds: float) -> Alert | None:
        """Return what analysts did about a transaction; `None`: it was approved."""
        rows = await self._postgres.rows(_ALERT, {"id": transaction_id}, seconds=seconds)
        if not rows:
            return None
        return alert_state(rows[0])

    async def writers(self, *, seconds: float) -> tuple[Writer, ...]:
        """Return how far the writers to PostgreSQL are."""
        rows = await self._postgres.rows(_WRITERS, seconds=seconds)
        return tuple(Writer(name, topic, offset, micros(at)) for name, topic, offset, at in rows)

    async def answer(self, *, seconds: float) -> None:
        """Return when PostgreSQL answers."""
        await self._postgres.rows("SELECT 1", seconds=seconds)

    async def _spans(self, low: int | None, high: int | None, until: float) -> list[Span]:
        names = [row[0] for row in await self._postgres.rows(_PARTITIONS, seconds=_left(until))]
        first, last = (await self._postgres.rows(_OTHER, seconds=_left(until)))[0]
        other = None if first is None else Span(micros(first), micros(last) + 1)
        bounds = Span(
            EVENT_TIME_MIN_MICROS if low is None else low, EVENT_TIME_MAX_MICROS if high is None else high
        )
        return spans(names, other, bounds)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())


def _adapted(piece: int, took_seconds: float) -> int:
    """Return the length of the next piece: longer after a quick one, shorter after a slow one."""
    if took_seconds < _QUICK_SECONDS:
        return piece * 2
    if took_seconds > _SLOW_SECONDS:
        return max(_PIECE_MICROS_MIN, piece // 2)
    return piece


def _gathered(query: LiteralString) -> LiteralString:
    """Return the same query in a form that finds all rows first and sorts them then.

    The planner otherwise walks backwards in time in the hope of filling the page soon.
    """
    found, order, rest = query.partition(" ORDER BY ")
    return f"SELECT * FROM ({found} OFFSET 0) AS found{order}{rest}"


def _listing(wanted: Filter) -> tuple[LiteralString, dict[str, object]]:
    conditions: list[LiteralString] = [
        "event_time >= %(low)s AND event_time < %(high)s AND (event_time, transaction_id) < (%(at)s, %(id)s)"
    ]
    conditions += _conditions(wanted)
    values: dict[str, object] = {
        "customer": wanted.customer_id,
        "merchant": wanted.merchant_id,
        "actions": [ACTIONS.index(action) + 1 for action in wanted.actions],
        "score_min": wanted.score_min,
        "score_max": wanted.score_max,
        "amount_min": wanted.amount_min_minor,
        "amount_max": wanted.amount_max_minor,
        "channels": [CHANNELS.index(channel) + 1 for channel in wanted.channels],
        "countries": list(wanted.countries),
    }
    query = (
        f"SELECT {LISTED_COLUMNS} FROM transactions WHERE {' AND '.join(conditions)} "
        "ORDER BY event_time DESC, transaction_id DESC LIMIT %(size)s"
    )
    return query, values


def _conditions(wanted: Filter) -> Iterator[LiteralString]:
    if wanted.customer_id is not None:
        yield "customer_id = %(customer)s"
    if wanted.merchant_id is not None:
        yield "merchant_id = %(merchant)s"
    if wanted.actions:
        yield "action = ANY(%(actions)s::smallint[])"
    # Scores are stored as 32 bits: so is what they are compared with.
    if wanted.score_min is not None:
        yield "score >= %(score_min)s::real"
    if wanted.score_max is not None:
        yield "score <= %(score_max)s::real"
    if wanted.amount_min_minor is not None:
        yield "amount_minor >= %(amount_min)s"
    if wanted.amount_max_minor is not None:
        yield "amount_minor <= %(amount_max)s"
    if wanted.channels:
        yield "channel = ANY(%(channels)s::smallint[])"
    if wanted.countries:
        yield "country = ANY(%(countries)s::text[])"


_BY_KEY: LiteralString = (
    f"SELECT {FOUND_COLUMNS} FROM transactions WHERE event_time = %(time)s AND transaction_id = %(id)s"
)
_ALERT_BY_ID: LiteralString = f"SELECT {ALERT_COLUMNS} FROM alerts WHERE transaction_id = %(id)s"
_LABEL_TIME: LiteralString = "SELECT transaction_id, event_time FROM labels WHERE transaction_id = %(id)s"
_BY_ID: LiteralString = (
    f"SELECT {FOUND_COLUMNS} FROM transactions "
    "WHERE transaction_id = %(id)s AND event_time >= %(low)s AND event_time < %(high)s"
)
_ALERTS_OF: LiteralString = (
    f"SELECT {ALERT_COLUMNS} FROM alerts WHERE customer_id = %(customer)s "
    "ORDER BY event_time DESC LIMIT %(most)s"
)
_LABEL: LiteralString = "SELECT is_fraud, known_time, typology FROM labels WHERE transaction_id = %(id)s"
_LABELS: LiteralString = (
    "SELECT transaction_id, is_fraud, known_time, typology FROM labels WHERE transaction_id = ANY(%(ids)s)"
)
_ALERT: LiteralString = f"SELECT {STATE_COLUMNS} FROM alerts WHERE transaction_id = %(id)s"
_WRITERS: LiteralString = "SELECT sink, topic, next_offset, updated_at FROM sink_progress ORDER BY sink"
_PARTITIONS: LiteralString = (
    "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'transactions'::regclass"
)
_OTHER: LiteralString = "SELECT min(event_time), max(event_time) FROM transactions_other"
