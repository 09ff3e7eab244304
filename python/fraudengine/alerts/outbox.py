"""What the service must not forget: its place in the topic, the groups, the messages that are not sent yet.

One SQLite file in the state folder, write-ahead log, every transaction forced to the disk. The place moves in
the same transaction that adds the alerts before it to their groups, so whatever kills the process, each alert
is in exactly one message. A message is written down before it is sent and removed after it was accepted: a
process killed in between sends it again, with the same id and text.

The command line reads and writes the same file beside a running service; SQLite keeps them apart. One object
may be used by several threads, one of which works with the file at a time.

Bounded: `groups_max` groups and, for each route and target, one of the alerts that found no room; at most one
unsent message a group; `failed_max` refused messages; `desk.SNOOZES_MAX` snoozes.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fraudengine.alerts.grouping import Pace, gathered, settled
from fraudengine.alerts.routing import OTHERS
from fraudengine.alerts.tables import (
    MESSAGE_COLUMNS,
    SCHEMA,
    Key,
    Place,
    Waiting,
    group_of,
    keep,
    next_of,
    tried,
    waiting_of,
)
from fraudengine.errors import AlertError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fraudengine.alerts.rollup import Rollup
    from fraudengine.settings_alerts import AlertsSettings

__all__ = ["FILE_NAME", "Outbox"]


FILE_NAME = "alerts.sqlite3"
_VERSION = 1
_BUSY_SECONDS = 10.0
_LOOKED_AT_ONCE = 100


class Outbox:
    """The file, open.

    Parameters
    ----------
    settings
        The section `[alerts]`.

    Raises
    ------
    AlertError
        The file cannot be used: damaged, or written by a newer program.

    """

    def __init__(self, settings: AlertsSettings) -> None:
        self._pace = Pace(int(settings.group_wait_seconds * 1e3), int(settings.group_interval_seconds * 1e3))
        self._groups_max = settings.groups_max
        self._failed_max = settings.failed_max
        folder = settings.state_folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path: Path = folder / FILE_NAME
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise AlertError(f"{self._path} cannot be used: {error}") from error

    def _prepare(self) -> None:
        self._path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self.transaction() as db:
            self._migrate(db)

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise AlertError(f"{self._path} has version {version}, this program knows {_VERSION}")
        if version == 0:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do everything in the block or nothing of it; on the disk when the block has ended."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read in the block; nobody else of this process works with the file meanwhile."""
        with self._lock:
            yield self._db

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def place(self, topic: str) -> Place | None:
        """Return where the service stands in a topic; `None`: it has never been there.

        Raises
        ------
        AlertError
            The file is about another topic.

        """
        with self._lock:
            row = self._db.execute("SELECT topic, next_offset, generation FROM place").fetchone()
        if row is None:
            return None
        if row[0] != topic:
            raise AlertError(f"{self._path} is about the topic {row[0]!r}, not {topic!r}: give each a folder")
        return Place(row[1], row[2])

    def go_to(self, topic: str, place: Place) -> None:
        """Stand at this place, without having taken anything in."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?)",
                (topic, place.next_offset, place.generation),
            )

    def take_in(self, before: Place, after: Place, arrivals: Mapping[Key, Rollup], now_ms: int) -> int:
        """Add alerts to their groups and move on, in one transaction.

        Parameters
        ----------
        before, after
            Where the service stood, and where it stands now.
        arrivals
            New alerts by target, route and subject.
        now_ms
            The time.

        Returns
        -------
        int
            Alerts that found no room for a group of their own, counted once a target.

        Raises
        ------
        AlertError
            Somebody else has moved on meanwhile.

        """
        overflowed = 0
        with self.transaction() as db:
            moved = db.execute(
                "UPDATE place SET next_offset = ?, generation = ? WHERE next_offset = ?",
                (after.next_offset, after.generation, before.next_offset),
            )
            if moved.rowcount != 1:
                raise AlertError(f"{self._path}: another process reads the alerts, too")
            if not arrivals:
                return 0
            snoozed = self.snoozed(now_ms)
            (groups,) = db.execute("SELECT count(*) FROM groups").fetchone()
            for (target, route, subject), more in arrivals.items():
                group, place = group_of(db, (target, route, subject)), subject
                if group is None and groups >= self._groups_max:
                    overflowed += more.alerts
                    place = OTHERS
                    group = group_of(db, (target, route, place))
                groups += group is None
                group = gathered(group, more, self._pace, now_ms, snoozed.get(place, 0))
                keep(db, (target, route, place), group)
        return overflowed

    def next_for(self, target: str, now_ms: int) -> Waiting | None:
        """Return the message that a target is to be sent now, made and written down if need be."""
        with self._lock:
            row = self._db.execute(
                f"SELECT {MESSAGE_COLUMNS} FROM messages "
                "WHERE target = ? AND state = 'waiting' AND at_ms <= ? ORDER BY at_ms LIMIT 1",
                (target, now_ms),
            ).fetchone()
            if row is not None:
                return waiting_of(row)
            due = "FROM groups WHERE target = ? AND sending IS NULL AND due_ms <= ?"
            if self._db.execute(f"SELECT 1 {due} LIMIT 1", (target, now_ms)).fetchone() is None:
                return None
            with self.transaction() as db:
                order = f"ORDER BY due_ms LIMIT {_LOOKED_AT_ONCE}"
                rows = db.execute(f"SELECT route, subject {due} {order}", (target, now_ms)).fetchall()
                for route, subject in rows:
                    if (waiting := next_of(db, (target, route, subject), now_ms)) is not None:
                        return waiting
        return None

    def accepted(self, waiting: Waiting, now_ms: int) -> None:
        """Note that a target has taken a message."""
        with self.transaction() as db:
            db.execute("DELETE FROM messages WHERE id = ?", (waiting.message.id,))
            self._settle(db, waiting, now_ms)

    def put_off(self, waiting: Waiting, until_ms: int, error: str) -> None:
        """Note that an attempt has failed, and when to try again."""
        with self.transaction() as db:
            tried(db, waiting, "waiting", until_ms, error)

    def refused(self, waiting: Waiting, now_ms: int, error: str) -> int:
        """Note that a target will never take a message; return how many older ones made room for it."""
        with self.transaction() as db:
            tried(db, waiting, "failed", now_ms, error)
            self._settle(db, waiting, now_ms)
            return db.execute(
                "DELETE FROM messages WHERE state = 'failed' AND id NOT IN "
                "(SELECT id FROM messages WHERE state = 'failed' ORDER BY at_ms DESC, id LIMIT ?)",
                (self._failed_max,),
            ).rowcount

    def _settle(self, db: sqlite3.Connection, waiting: Waiting, now_ms: int) -> None:
        key = (waiting.target, waiting.message.route, waiting.message.subject)
        group = group_of(db, key)
        # A message that an operator has sent off again belongs to no group any more.
        if group is not None and group.sending == waiting.message.id:
            keep(db, key, settled(group, self._pace, now_ms))

    def snoozed(self, now_ms: int) -> dict[str, int]:
        """Return the subjects that are snoozed, and until when."""
        asked = "SELECT subject, until_ms FROM snoozes WHERE until_ms > ?"
        with self._lock:
            return dict(self._db.execute(asked, (now_ms,)).fetchall())
