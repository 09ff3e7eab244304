"""What analysts write into PostgreSQL: the state of an alert and a line of the audit, both or none.

The only writer of those columns. Whoever decides about a transaction first takes its lock, so that two
clicks, of one person or of two, come one after the other and the second sees what the first one did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from fraudengine.stores.rows import ALERT_COLUMNS, STATE_COLUMNS, alert_of, alert_state, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from fraudengine.stores.records import Alert, StoredTransaction

__all__ = ["Case", "Casebook", "Change"]

_SHARED = 19
NO_ALERT = "no alert"
"""State of a transaction that was approved."""


@dataclass(frozen=True, slots=True)
class Case:
    """A transaction that was not approved, and what was done about it."""

    transaction: StoredTransaction
    alert: Alert

    @property
    def state(self) -> str:
        """The state in one word, as the audit says it."""
        if self.alert.verdict is not None:
            return self.alert.verdict
        return "snoozed" if self.alert.snoozed_until_micros is not None else self.alert.status


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody did: a line of the audit."""

    actor: str
    transaction_id: str
    what: str
    from_state: str
    to_state: str
    note: str | None
    label_offset: int | None = None


class Casebook:
    """The tables inside one database transaction, which its owner commits.

    Parameters
    ----------
    connection
        Inside a transaction that may write.

    """

    def __init__(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._connection = connection

    async def locked(self, transaction_ids: Sequence[str]) -> dict[str, Case]:
        """Wait until nobody else decides about these; return those that have an alert, as they are now."""
        # In the order of their locks, so that two who take many wait for one another at most.
        await self._connection.execute(_LOCK, {"ids": list(transaction_ids)})
        cursor = await self._connection.execute(_CASES, {"ids": list(transaction_ids)})
        return {
            row[0]: Case(alert_of(row[:_SHARED]), alert_state(row[_SHARED:]))
            for row in await cursor.fetchall()
        }

    async def close(self, changes: Sequence[Change]) -> None:
        """Give alerts their verdicts (`to_state`), and say so in the audit; no alert: in the audit only."""
        values = [
            {"id": each.transaction_id, "verdict": each.to_state, "actor": each.actor, "note": each.note}
            for each in changes
        ]
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_CLOSE, values)
        await self._say(changes)

    async def snooze(self, changes: Sequence[Change], until_micros: int) -> None:
        """Let alerts sleep until a time, and say so in the audit."""
        values = [
            {
                "id": each.transaction_id,
                "until": moment(until_micros),
                "actor": each.actor,
                "note": each.note,
            }
            for each in changes
        ]
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_SNOOZE, values)
        await self._say(changes)

    async def note(self, change: Change) -> None:
        """Put a note on an alert, and say so in the audit."""
        values = {"id": change.transaction_id, "actor": change.actor, "note": change.note}
        await self._connection.execute(_NOTE, values)
        await self._say([change])

    async def _say(self, changes: Sequence[Change]) -> None:
        values = [
            (
                each.actor, each.transaction_id, each.what, each.from_state, each.to_state, each.note,
                each.label_offset,
            )
            for each in changes
        ]  # fmt: skip
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_SAY, values)


_LOCK: LiteralString = (
    "SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT hashtextextended(id, 0) AS key "
    "FROM unnest(%(ids)s::text[]) AS given(id) ORDER BY 1) AS keys"
)
_CASES: LiteralString = (
    f"SELECT {ALERT_COLUMNS}, {STATE_COLUMNS} FROM alerts WHERE transaction_id = ANY(%(ids)s)"
)
_CLOSE: LiteralString = (
    "UPDATE alerts SET status = 'closed', verdict = %(verdict)s, analyst = %(actor)s, "
    "note = coalesce(%(note)s, note), status_time = clock_timestamp(), snoozed_until = NULL "
    "WHERE transaction_id = %(id)s"
)
_SNOOZE: LiteralString = (
    "UPDATE alerts SET status = 'assigned', analyst = %(actor)s, note = coalesce(%(note)s, note), "
    "status_time = clock_timestamp(), snoozed_until = %(until)s WHERE transaction_id = %(id)s"
)
_NOTE: LiteralString = "UPDATE alerts SET analyst = %(actor)s, note = %(note)s WHERE transaction_id = %(id)s"
_SAY: LiteralString = (
    "INSERT INTO audit (actor, transaction_id, what, from_state, to_state, note, label_offset) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
