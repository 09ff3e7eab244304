"""What PostgreSQL holds of a demonstration against what really happened, while it runs and at the end.

Only the tables of `docs/contract.md` are read, as any other program would.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import polars as pl
import psycopg

from fraudengine.demo.outcome import Outcome

__all__ = ["Stored", "Tally"]

_SLACK: Final = timedelta(hours=1)
"""How far behind the newest event a row that is written now may be: the lateness bound."""

_NEW = """
SELECT action, count(*), sum(amount_minor), max(decision_offset), max(event_time),
       array_agg(transaction_id) FILTER (WHERE transaction_id = ANY(%(frauds)s))
FROM transactions
WHERE event_time >= %(since)s AND decision_offset > %(offset)s
GROUP BY action
"""

_DECIDED = """
SELECT transaction_id, event_time, decided_time, score, anomaly, action, flags, reasons, latency_micros
FROM transactions_named
WHERE event_time >= %s
ORDER BY decision_offset
"""

_SCHEMA: Final[dict[str, type[pl.DataType] | pl.DataType]] = {
    "transaction_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "decided_time": pl.Datetime("us", "UTC"),
    "score": pl.Float32,
    "anomaly": pl.Float32,
    "action": pl.Enum(["approve", "review", "block"]),
    "flags": pl.UInt8,
    "reasons": pl.List(pl.String),
    "reason_weights": pl.List(pl.Float32),
    "latency_micros": pl.Int64,
}


@dataclass(frozen=True)
class Stored:
    """What is counted at the end.

    Attributes
    ----------
    rows, labels
        Rows of `transactions` and of `labels`.
    lost, doubled, unknown
        Transactions that were sent and are not there, rows beyond the first of an id, ids never sent.

    """

    rows: int
    labels: int
    lost: int
    doubled: int
    unknown: int


class Tally:
    """Reads the database; a context manager that closes its connection.

    Parameters
    ----------
    url
        Of the database.
    truth
        The transactions to count, `transaction_id`, `amount_minor`, `is_fraud`.
    since
        Time of the first of them.

    """

    def __init__(self, url: str, truth: pl.DataFrame, since: datetime) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        frauds = truth.filter(pl.col("is_fraud") == 1)
        self._amounts = dict(zip(frauds["transaction_id"], frauds["amount_minor"], strict=True))
        self._first = self._since = since
        self._offset = -1
        self.outcome = Outcome()

    def refresh(self) -> Outcome:
        """Take in what was written since the last call; return the outcome so far."""
        arguments = {"frauds": list(self._amounts), "since": self._since, "offset": self._offset}
        try:
            rows = self._connection.execute(_NEW, arguments).fetchall()
        except psycopg.errors.UndefinedTable:
            # The writer has not made its tables yet.
            return self.outcome
        for action, count, amount_minor, offset, newest, frauds in rows:
            self._offset = max(self._offset, offset)
            self._since = max(self._since, newest - _SLACK, self._first)
            self._add(action, count, int(amount_minor), [self._amounts[name] for name in frauds or ()])
        return self.outcome

    def _add(self, action: int, count: int, amount_minor: int, frauds: list[int]) -> None:
        so_far, flagged, blocked = self.outcome, action > 1, action > 2
        genuine, genuine_minor = count - len(frauds), amount_minor - sum(frauds)
        self.outcome = Outcome(
            transactions=so_far.transactions + count,
            frauds=so_far.frauds + len(frauds),
            caught=so_far.caught + flagged * len(frauds),
            blocked=so_far.blocked + blocked * len(frauds),
            disturbed=so_far.disturbed + flagged * genuine,
            wrongly_blocked=so_far.wrongly_blocked + blocked * genuine,
            at_stake_minor=so_far.at_stake_minor + sum(frauds),
            stopped_minor=so_far.stopped_minor + flagged * sum(frauds),
            blocked_minor=so_far.blocked_minor + blocked * sum(frauds),
            disturbed_minor=so_far.disturbed_minor + flagged * genuine_minor,
            wrongly_blocked_minor=so_far.wrongly_blocked_minor + blocked * genuine_minor,
        )

    def decisions(self) -> pl.DataFrame:
        """Return the decisions from the first instant on, in their order, in columns named as by `replay`."""
        rows = self._connection.execute(_DECIDED, [self._first]).fetchall()
        return pl.DataFrame([_unfolded(row) for row in rows], schema=_SCHEMA, orient="row")

    def stored(self, sent: pl.Series) -> Stored:
        """Count all rows by the ids that were sent."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY (SELECT transaction_id FROM transactions) TO STDOUT") as copy,
        ):
            text = b"".join(copy).decode()
        found = pl.Series("transaction_id", text.splitlines(), dtype=pl.String)
        known = sent.is_in(found.implode())
        labels = self._connection.execute("SELECT count(*) FROM labels").fetchone()
        unique = found.n_unique()
        return Stored(
            rows=found.len(),
            labels=int(labels[0]) if labels else 0,
            lost=int((~known).sum()),
            doubled=found.len() - unique,
            unknown=unique - sent.filter(known).n_unique(),
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()


def _unfolded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with names and weights of the reasons in columns of their own."""
    reasons = row[7] or ()
    names = [each["feature"] for each in reasons]
    weights = [each["contribution"] for each in reasons]
    return (*row[:7], names, weights, row[8])
