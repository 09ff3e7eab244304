"""What people ask of the outbox, beside a running service or without one: snooze, list, send off again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fraudengine.alerts.tables import Waiting, waiting_of
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.alerts.outbox import Outbox

__all__ = ["SNOOZES_MAX", "SNOOZE_MS_MAX", "Figures", "figures", "retry", "snooze", "unsent"]

SNOOZES_MAX = 10_000
"""Most snoozes at a time."""
SNOOZE_MS_MAX = 30 * 24 * 3_600_000
"""Longest snooze: 30 days."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How much is in the outbox.

    Attributes
    ----------
    groups, snoozes
        Their number.
    waiting, failed
        Messages by target: not sent yet, refused for good.
    oldest_ms
        When the oldest message that waits was made, by target.

    """

    groups: int
    snoozes: int
    waiting: dict[str, int]
    failed: dict[str, int]
    oldest_ms: dict[str, int]


def figures(outbox: Outbox, now_ms: int) -> Figures:
    """Return how much is in the outbox."""
    with outbox.reading() as db:
        (groups,) = db.execute("SELECT count(*) FROM groups").fetchone()
        (snoozes,) = db.execute("SELECT count(*) FROM snoozes WHERE until_ms > ?", (now_ms,)).fetchone()
        rows = db.execute(
            "SELECT target, state, count(*), min(made_ms) FROM messages GROUP BY target, state"
        ).fetchall()
    by_state = {
        state: {target: count for target, its, count, _ in rows if its == state}
        for state in ("waiting", "failed")
    }
    oldest = {target: made for target, state, _, made in rows if state == "waiting"}
    return Figures(groups, snoozes, by_state["waiting"], by_state["failed"], oldest)


def unsent(outbox: Outbox, state: str, limit: int) -> list[Waiting]:
    """Return messages that are `waiting` or `failed`, the newest first."""
    with outbox.reading() as db:
        rows = db.execute(
            "SELECT message, target, attempts, at_ms, error FROM messages WHERE state = ? "
            "ORDER BY at_ms DESC, id LIMIT ?",
            (state, limit),
        ).fetchall()
    return [waiting_of(row) for row in rows]


def retry(outbox: Outbox, targets: Sequence[str], now_ms: int) -> int:
    """Send off again what these targets have refused; return how many messages."""
    with outbox.transaction() as db:
        return sum(
            db.execute(
                "UPDATE messages SET state = 'waiting', at_ms = ? WHERE state = 'failed' AND target = ?",
                (now_ms, target),
            ).rowcount
            for target in targets
        )


def snooze(outbox: Outbox, subject: str, until_ms: int, analyst: str, now_ms: int) -> None:
    """Put off messages about a subject (`ENTITY:ID`) until then; what comes meanwhile is told afterwards.

    A time that is over ends a snooze.

    Raises
    ------
    ConfigError
        It is too long, or there are too many.

    """
    if until_ms - now_ms > SNOOZE_MS_MAX:
        raise ConfigError(f"a snooze lasts {SNOOZE_MS_MAX // 86_400_000} days at most")
    with outbox.transaction() as db:
        db.execute("DELETE FROM snoozes WHERE until_ms <= ? OR subject = ?", (now_ms, subject))
        which = "WHERE subject = ?"
        if until_ms <= now_ms:
            db.execute(f"UPDATE groups SET due_ms = min(due_ms, ?) {which}", (now_ms, subject))
            return
        (count,) = db.execute("SELECT count(*) FROM snoozes").fetchone()
        if count >= SNOOZES_MAX:
            raise ConfigError(f"there are {count:,} snoozes, which is as many as there may be")
        db.execute("INSERT INTO snoozes VALUES (?, ?, ?, ?)", (subject, until_ms, analyst, now_ms))
        db.execute(f"UPDATE groups SET due_ms = max(due_ms, ?) {which}", (until_ms, subject))
