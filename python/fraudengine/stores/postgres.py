"""Connections to PostgreSQL: few, made when wanted, mended by themselves. Only those of `written` write.

A query that nobody waits for any more is cancelled in the server. Every plan is made for its own values, so
that days outside the asked range are never opened.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import errors

from fraudengine.errors import ServiceError, StoreError, StoreTimeoutError
from fraudengine.stores.limits import Reads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Postgres"]

_STORE = "postgres"
_CONNECT_SECONDS = 5
# The last resort where a cancellation is lost on its way; and reading never writes.
_SESSION = (
    "SET default_transaction_read_only = on; SET statement_timeout = '60s'; SET timezone = 'UTC'; "
    "SET plan_cache_mode = force_custom_plan"
)
# The planner thinks that a Bloom filter lets half of the table through, and that two more processes help:
# reading everything in three processes takes a hundred times as long as the index.
_RARE = "SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0"
# Ends a connection to a server that has gone without a word.
_SOCKET: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
_NOT_READABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InsufficientPrivilege,
    # A standby, or a role that may only read.
    errors.ReadOnlySqlTransaction,
)
# What an analyst was told is on the disk, whatever the database does for the writer of the stream.
_WRITING = "SET TRANSACTION READ WRITE; SET LOCAL synchronous_commit = on"

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class Postgres:
    """A small pool.

    Parameters
    ----------
    url
        Says where the server is, each time that a connection is made.
    most
        Most connections; further queries wait.

    """

    def __init__(self, url: Callable[[], str], *, most: int = 4) -> None:
        self._url = url
        self._room = asyncio.Semaphore(most)
        # By whether they are for rare rows: the settings of a session differ.
        self._idle: dict[bool, list[psycopg.AsyncConnection[tuple[Any, ...]]]] = {False: [], True: []}
        self._reads = Reads(_STORE)

    async def rows(
        self,
        query: LiteralString,
        values: Mapping[str, object] | None = None,
        *,
        seconds: float,
        rare: bool = False,
    ) -> Rows:
        """Return the rows of a query; `rare` ones are found by an index, whatever the planner would guess.

        Raises
        ------
        StoreTimeoutError
            There was no answer in that time.
        StoreError
            The server does not answer, refuses, or has not been written to yet.

        """
        return await self._reads.within(seconds, self._rows(query, values, rare=rare))

    async def written(
        self, work: Callable[[psycopg.AsyncConnection[tuple[Any, ...]]], Awaitable[T]], *, seconds: float
    ) -> T:
        """Do some work inside one database transaction that may write; return what it returns.

        All of it is there afterwards, or none: any error rolls it back, the end of the time too.

        Raises
        ------
        StoreTimeoutError
            It was not done in that time; what was being committed just then may be there.
        StoreError
            The server does not answer, refuses, or has not been written to yet.

        """
        return await self._reads.within(seconds, self._written(work))

    async def close(self) -> None:
        """Close every connection."""
        await self._reads.close()
        for idle in self._idle.values():
            for connection in idle:
                await connection.close()
            idle.clear()

    async def _rows(self, query: LiteralString, values: Mapping[str, object] | None, *, rare: bool) -> Rows:
        idle = self._idle[rare]
        async with self._room:
            while True:
                used = bool(idle)
                try:
                    connection = idle.pop() if used else await self._connect(rare=rare)
                    return await self._ask(connection, query, values, rare=rare)
                except errors.QueryCanceled as error:
                    raise StoreTimeoutError(_STORE, "the query took too long") from error
                except ServiceError as error:
                    raise StoreError(_STORE, str(error)) from error
                except _NOT_READABLE as error:
                    # A connection that was kept may have ended since: a server that was restarted is asked
                    # again.
                    if not (used and connection.closed):
                        raise StoreError(_STORE, _one_line(error)) from error

    async def _written(self, work: Callable[[psycopg.AsyncConnection[tuple[Any, ...]]], Awaitable[T]]) -> T:
        async with self._room:
            try:
                # A new connection: whether a kept one is still alive is only known by what it loses.
                connection = await self._connect()
                try:
                    async with connection.transaction():
                        await connection.execute(_WRITING)
                        return await work(connection)
                finally:
                    await connection.close()
            except errors.QueryCanceled as error:
                raise StoreTimeoutError(_STORE, "the change took too long") from error
            except ServiceError as error:
                raise StoreError(_STORE, str(error)) from error
            except _NOT_READABLE as error:
                raise StoreError(_STORE, _one_line(error)) from error

    async def _ask(
        self,
        connection: psycopg.AsyncConnection[tuple[Any, ...]],
        query: LiteralString,
        values: Mapping[str, object] | None,
        *,
        rare: bool,
    ) -> Rows:
        usable = False
        try:
            cursor = await connection.execute(query, values)
            rows = await cursor.fetchall()
            usable = True
        except psycopg.Error:
            usable = not connection.closed
            raise
        finally:
            if usable:
                self._idle[rare].append(connection)
            else:
                await connection.close()
        return rows

    async def _connect(self, *, rare: bool = False) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        connection = await psycopg.AsyncConnection.connect(
            self._url(),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=_CONNECT_SECONDS,
            application_name="fraudengine stores",
            **_SOCKET,
        )
        try:
            await connection.execute(_SESSION)
            if rare:
                await connection.execute(_RARE)
        except BaseException:
            await connection.close()
            raise
        return connection


def _one_line(error: psycopg.Error) -> str:
    if isinstance(error, errors.UndefinedTable):
        return "the tables are not there yet: no stream has written to this database"
    return " ".join(str(error).split())
