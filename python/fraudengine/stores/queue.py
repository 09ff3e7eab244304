"""The analysts' queue: alerts by money at risk, one by one or by customer, device, merchant, and their trail.

Money at risk is amount times probability, in the alert's own currency; alerts of several currencies are
ordered by its worth in the reference currency (`fraudengine.money`). Each currency has its own part of one
index, ordered by money at risk: a page reads what it shows from each and merges, however long the queue is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, LiteralString

from fraudengine.stores import queue_query
from fraudengine.stores.queue_records import AuditEntry, Group, QueuedAlert, QueuePage, QueueTotals
from fraudengine.stores.rows import alert_of, alert_state, micros, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.money import Worth
    from fraudengine.stores.postgres import Postgres
    from fraudengine.stores.queue_records import GroupBy, Place, QueueFilter

__all__ = ["AlertQueue"]

_SHARED = 19
# Behind all that can be converted, and still in an order.
_WITHOUT_RATE = 1e-9


class AlertQueue:
    """Reads alerts and audit; raises `StoreError`, and `StoreTimeoutError` when `seconds` are over.

    Parameters
    ----------
    postgres
        Where they are.
    worth
        Converts money.

    """

    def __init__(self, postgres: Postgres, worth: Worth) -> None:
        self._postgres = postgres
        self.worth = worth

    async def page(
        self, wanted: QueueFilter, size: int, after: Place | None = None, *, seconds: float
    ) -> QueuePage:
        """Return up to `size` alerts behind a place."""
        until = time.monotonic() + seconds
        values = queue_query.values(wanted) | {"size": size}
        if wanted.state == "closed":
            query = queue_query.closed(wanted, after)
            values |= {"at": None if after is None else moment(int(after[0])), "id": after and after[1]}
            # The codes are not needed: the time of the verdict is the order.
            values |= {"codes": [], "factors": []}
        else:
            codes, factors = await self._factors(until)
            query = queue_query.listing(wanted, after)
            values |= {"codes": codes, "factors": factors}
            values |= {"worth": after and after[0], "id": after and after[1]}
        rows = await self._postgres.rows(query, values, seconds=max(0.0, until - time.monotonic()))
        alerts = tuple(map(self._queued, rows))
        if len(alerts) < size:
            return QueuePage(alerts, None)
        last = alerts[-1]
        order = (last.state.status_time_micros or 0) if wanted.state == "closed" else rows[-1][-1]
        return QueuePage(alerts, (order, last.transaction.transaction_id))

    async def groups(
        self, by: GroupBy, wanted: QueueFilter, most: int, *, seconds: float
    ) -> tuple[Group, ...]:
        """Return those with the most money at risk together; `wanted.state` is `open` or `snoozed`."""
        until = time.monotonic() + seconds
        codes, factors = await self._factors(until)
        values = queue_query.values(wanted) | {"codes": codes, "factors": factors, "most": most}
        rows = await self._postgres.rows(
            queue_query.grouping(by, wanted), values, seconds=max(0.0, until - time.monotonic())
        )
        return tuple(
            Group(
                key, count, blocked, worth, score, micros(newest), tuple(code or None for code in currencies)
            )
            for key, count, blocked, worth, score, newest, currencies in rows
        )

    async def ids_of(
        self, by: GroupBy, key: str, wanted: QueueFilter, most: int, *, seconds: float
    ) -> list[str]:
        """Return the ids of the alerts of a group, most at risk first."""
        values = queue_query.values(wanted) | {"key": key, "most": most}
        conditions = " AND ".join([*queue_query.conditions(wanted), f"{queue_query.COLUMN[by]} = %(key)s"])
        query: LiteralString = (
            f"SELECT transaction_id FROM alerts WHERE {conditions} "
            "ORDER BY at_risk_minor(amount_minor, score) DESC, transaction_id LIMIT %(most)s"
        )
        return [row[0] for row in await self._postgres.rows(query, values, seconds=seconds)]

    async def totals(self, *, seconds: float) -> QueueTotals:
        """Return how long the queue is and how much money is at risk in it."""
        rows = await self._postgres.rows(queue_query.TOTALS, seconds=seconds)
        return QueueTotals(
            open=sum(count for _, asleep, count, _ in rows if not asleep),
            snoozed=sum(count for _, asleep, count, _ in rows if asleep),
            at_risk_minor={code or None: at_risk for code, asleep, _, at_risk in rows if not asleep},
        )

    async def get(self, transaction_ids: Sequence[str], *, seconds: float) -> dict[str, QueuedAlert]:
        """Return alerts by their ids; those that are none are not in the answer."""
        query: LiteralString = (
            f"SELECT {queue_query.QUEUED}, 0 FROM alerts WHERE transaction_id = ANY(%(ids)s)"
        )
        rows = await self._postgres.rows(query, {"ids": list(transaction_ids)}, seconds=seconds)
        return {row[0]: self._queued(row) for row in rows}

    async def audit(
        self, most: int, *, transaction_id: str | None = None, seconds: float
    ) -> tuple[AuditEntry, ...]:
        """Return the newest lines of the trail, of one transaction or of all, newest first."""
        query = queue_query.AUDIT if transaction_id is None else queue_query.AUDIT_OF
        rows = await self._postgres.rows(query, {"most": most, "id": transaction_id}, seconds=seconds)
        return tuple(AuditEntry(number, micros(at), *rest) for number, at, *rest in rows)

    async def _factors(self, until: float) -> tuple[list[str], list[float]]:
        """Return the currencies of open alerts and what a minor unit of each is worth."""
        rows = await self._postgres.rows(queue_query.CURRENCIES, seconds=max(0.0, until - time.monotonic()))
        codes = [row[0] for row in rows]
        return codes, [self._factor(code) for code in codes]

    def _queued(self, row: Sequence[Any]) -> QueuedAlert:
        transaction = alert_of(row)
        at_risk = transaction.amount_minor * (1.0 if transaction.score is None else transaction.score)
        worth = at_risk * self._factor(transaction.currency)
        return QueuedAlert(transaction, alert_state(row[_SHARED : _SHARED + 6]), at_risk, worth)

    def _factor(self, currency: str | None) -> float:
        factor = self.worth.factor(currency)
        return _WITHOUT_RATE if factor is None else factor
