"""The tables of the outbox: what stands in a row, and how a row is read and written inside a transaction."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fraudengine.alerts.grouping import Group, Step, made, step
from fraudengine.alerts.message import Message
from fraudengine.alerts.rollup import Rollup

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "MESSAGE_COLUMNS",
    "SCHEMA",
    "Key",
    "Place",
    "Waiting",
    "group_of",
    "keep",
    "next_of",
    "tried",
    "waiting_of",
]

Key = tuple[str, str, str]
"""What names a group: target, route, subject."""

SCHEMA = """
CREATE TABLE place (
    one INTEGER PRIMARY KEY CHECK (one = 1), topic TEXT NOT NULL, next_offset INTEGER NOT NULL,
    generation INTEGER NOT NULL);
CREATE TABLE groups (
    target TEXT NOT NULL, route TEXT NOT NULL, subject TEXT NOT NULL, due_ms INTEGER NOT NULL, pending TEXT,
    messages INTEGER NOT NULL, alerts INTEGER NOT NULL, thread TEXT, sending TEXT,
    PRIMARY KEY (target, route, subject));
CREATE INDEX groups_due ON groups (target, due_ms) WHERE sending IS NULL;
CREATE INDEX groups_subject ON groups (subject);
CREATE TABLE messages (
    id TEXT PRIMARY KEY, target TEXT NOT NULL, message TEXT NOT NULL, state TEXT NOT NULL,
    made_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, at_ms INTEGER NOT NULL, error TEXT);
CREATE INDEX messages_at ON messages (target, state, at_ms);
CREATE TABLE snoozes (
    subject TEXT PRIMARY KEY, until_ms INTEGER NOT NULL, analyst TEXT NOT NULL, set_ms INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service stands in the topic: first record not taken in, highest generation seen."""

    next_offset: int
    generation: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not sent: to whom, tried how often, and what the last attempt said."""

    message: Message
    target: str
    attempts: int
    at_ms: int
    error: str | None


MESSAGE_COLUMNS = "message, target, attempts, at_ms, error"
_WHICH = "WHERE target = ? AND route = ? AND subject = ?"


def waiting_of(row: tuple[str, str, int, int, str | None]) -> Waiting:
    """Return what a row of `messages` holds."""
    return Waiting(Message.from_json(row[0]), *row[1:])


def group_of(db: sqlite3.Connection, key: Key) -> Group | None:
    """Return a group; `None`: there is none."""
    row = db.execute(
        f"SELECT due_ms, pending, sending, messages, alerts, thread FROM groups {_WHICH}", key
    ).fetchone()
    return row and Group(row[0], row[1] and Rollup.from_json(row[1]), *row[2:])


def keep(db: sqlite3.Connection, key: Key, group: Group) -> None:
    """Write a group."""
    pending = None if group.pending is None else group.pending.to_json()
    db.execute(
        "INSERT OR REPLACE INTO groups (target, route, subject, due_ms, pending, sending, messages, alerts, "
        "thread) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, group.due_ms, pending, group.sending, group.messages, group.alerts, group.thread),
    )


def next_of(db: sqlite3.Connection, key: Key, now_ms: int) -> Waiting | None:
    """Make the message of a group, or forget the group."""
    target, route, subject = key
    group = group_of(db, key)
    if group is None or step(group, now_ms) is Step.WAIT:
        return None
    if group.pending is None:
        db.execute(f"DELETE FROM groups {_WHICH}", key)
        return None
    rollup, name = group.pending, secrets.token_hex(8)
    after = made(group, name, rollup.alerts)
    message = Message(
        id=name,
        thread=after.thread or name,
        number=after.messages,
        route=route,
        subject=subject,
        rollup=rollup,
        alerts_before=group.alerts,
        made_ms=now_ms,
    )
    keep(db, key, after)
    db.execute(
        "INSERT INTO messages (id, target, message, state, made_ms, attempts, at_ms) "
        "VALUES (?, ?, ?, 'waiting', ?, 0, ?)",
        (name, target, message.to_json(), now_ms, now_ms),
    )
    return Waiting(message, target, 0, now_ms, None)


def tried(db: sqlite3.Connection, waiting: Waiting, state: str, at_ms: int, error: str) -> None:
    """Write down that an attempt has failed, with what, and what becomes of the message."""
    db.execute(
        "UPDATE messages SET state = ?, attempts = attempts + 1, at_ms = ?, error = ? WHERE id = ?",
        (state, at_ms, error, waiting.message.id),
    )
