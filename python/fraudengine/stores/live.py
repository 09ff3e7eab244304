"""What Redis holds: counters, the last minutes, latencies, profiles, feeds. All of it may be lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import redis.asyncio as asyncio_redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fraudengine.errors import ServiceError, StoreError
from fraudengine.stores.limits import Reads
from fraudengine.stores.records import FeedEntry, Minute, Profile, Reason, Stats, Writer, order_of
from fraudengine.stores.summary import counts, latencies, of_histogram, of_sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["ALERTS", "FEED", "FEED_SAMPLE", "Live", "entry_of"]

FEED, ALERTS = "fraud:feed", "fraud:alerts"
"""The live feeds: a sample of all decisions, and those not approved."""
FEED_SAMPLE = 1_000
"""Most entries of a feed that are read at once."""
MINUTES_MAX = 24 * 60
"""Most minutes that figures are kept for."""

_STORE = "redis"
_CONNECTIONS = 8
_CONNECT_SECONDS = 5.0
_MINUTE_MICROS = 60_000_000

T = TypeVar("T")


class Live:
    """Reads Redis. Every method raises `StoreError`, and `StoreTimeoutError` when `seconds` are over.

    Parameters
    ----------
    url
        Says where the server is, each time that the connections are made anew.

    """

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._client: asyncio_redis.Redis | None = None
        self._reads = Reads(_STORE)

    async def stats(self, minutes: int, *, seconds: float) -> Stats:
        """Return the figures of so many whole minutes, 1 to `MINUTES_MAX`, and of all time."""
        now = time.time_ns() // 1_000
        current = now // _MINUTE_MICROS

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for key in ("fraud:position", "fraud:counters", "fraud:latency"):
                pipe.hgetall(key)
            pipe.xrevrange(FEED, count=FEED_SAMPLE)
            for minute in range(current - minutes, current + 1):
                pipe.hgetall(f"fraud:minute:{minute}")
            return await pipe.execute()

        position, counters, latency, feed, *each_minute = await self._read(read, seconds)
        since = int(position.get("epoch_started_ms", 0)) * 1_000
        began = max((current - minutes) * _MINUTE_MICROS, since)
        sample = [
            told["latency_micros"]
            for told in (json.loads(fields["json"]) for _, fields in feed)
            if told["decided_time_micros"] >= began
        ]
        return Stats(
            recent=counts(each_minute, (now - began) / 1e6),
            total=counts([counters], (now - since) / 1e6 if since else 0.0),
            since_micros=since,
            counters={name: int(value) for name, value in counters.items() if ":" not in name},
            recent_latency=of_sample(sample),
            total_latency=of_histogram(latency),
            writer=_writer(position),
        )

    async def minutes(self, most: int, *, seconds: float) -> tuple[Minute, ...]:
        """Return the newest minutes, 1 to `MINUTES_MAX`, oldest first; the last one is not over yet."""
        now = time.time_ns() // 1_000
        current = now // _MINUTE_MICROS
        wanted = range(current - most + 1, current + 1)

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for minute in wanted:
                pipe.hgetall(f"fraud:minute:{minute}")
            return await pipe.execute()

        told = await self._read(read, seconds)
        return tuple(
            Minute(
                minute * _MINUTE_MICROS,
                counts([fields], min(60.0, (now - minute * _MINUTE_MICROS) / 1e6)),
                latencies(fields),
            )
            for minute, fields in zip(wanted, told, strict=True)
        )

    async def profile(self, customer_id: str, *, seconds: float) -> Profile | None:
        """Return the live profile of a customer; `None`: there is none."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            pipe.hgetall(f"fraud:profile:{customer_id}")
            return await pipe.execute()

        (told,) = await self._read(read, seconds)
        return _profile(customer_id, told) if told else None

    async def newest(self, feed: str, most: int, *, seconds: float) -> tuple[FeedEntry, ...]:
        """Return the newest entries of a feed, newest first; at most `FEED_SAMPLE`."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            pipe.xrevrange(feed, count=min(most, FEED_SAMPLE))
            return await pipe.execute()

        (entries,) = await self._read(read, seconds)
        return tuple(entry_of(cursor, fields) for cursor, fields in entries)

    async def behind(self, feed: str, cursor: str, *, seconds: float) -> tuple[tuple[FeedEntry, ...], bool]:
        """Return entries behind a cursor, oldest first, and whether some before may have been dropped."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=True)
            pipe.xrange(feed, count=1)
            pipe.xrange(feed, min=f"({cursor}", count=FEED_SAMPLE)
            return await pipe.execute()

        first, entries = await self._read(read, seconds)
        told = tuple(entry_of(each, fields) for each, fields in entries)
        kept = bool(first) and order_of(first[0][0]) <= order_of(cursor)
        return told, bool(first) and not kept

    async def last_cursors(self, feeds: tuple[str, ...], *, seconds: float) -> dict[str, str]:
        """Return the cursor of the newest entry of each feed; `0-0` of an empty one."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for feed in feeds:
                pipe.xrevrange(feed, count=1)
            return await pipe.execute()

        newest = await self._read(read, seconds)
        return {feed: each[0][0] if each else "0-0" for feed, each in zip(feeds, newest, strict=True)}

    async def follow(
        self, cursors: Mapping[str, str], wait_seconds: float, *, seconds: float
    ) -> list[tuple[str, list[FeedEntry]]]:
        """Wait for entries behind these cursors; return them by feed, oldest first."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            wanted: dict[Any, Any] = dict(cursors)
            pipe.xread(wanted, count=FEED_SAMPLE, block=int(wait_seconds * 1_000))
            return await pipe.execute()

        (told,) = await self._read(read, seconds)
        return [(feed, [entry_of(cursor, fields) for cursor, fields in each]) for feed, each in told or ()]

    async def answer(self, *, seconds: float) -> None:
        """Return when Redis answers."""

        async def read(client: asyncio_redis.Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            pipe.exists("fraud:position")
            return await pipe.execute()

        await self._read(read, seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._reads.close()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _read(self, read: Callable[[asyncio_redis.Redis], Awaitable[T]], seconds: float) -> T:
        return await self._reads.within(seconds, self._ask(read))

    async def _ask(self, read: Callable[[asyncio_redis.Redis], Awaitable[T]]) -> T:
        try:
            return await read(self._connected())
        except ServiceError as error:
            raise StoreError(_STORE, str(error)) from error
        except (RedisError, OSError) as error:
            client, self._client = self._client, None
            if client is not None:
                await client.aclose()
            raise StoreError(_STORE, " ".join(str(error).split()) or type(error).__name__) from error

    def _connected(self) -> asyncio_redis.Redis:
        if self._client is None:
            pool = asyncio_redis.BlockingConnectionPool.from_url(
                self._url(),
                max_connections=_CONNECTIONS,
                timeout=None,
                decode_responses=True,
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=None,
                socket_keepalive=True,
                # A connection that was kept may have ended since: once more, on a new one.
                retry=Retry(NoBackoff(), 1),
            )
            self._client = asyncio_redis.Redis.from_pool(pool)
        return self._client


def entry_of(cursor: str, fields: Mapping[str, str]) -> FeedEntry:
    """Return an entry of a feed from its JSON."""
    told = json.loads(fields["json"])
    flags = told.pop("flags")
    reasons = tuple(Reason(**each) for each in told.pop("reasons", ()))
    return FeedEntry(
        cursor=cursor,
        reasons=reasons,
        late=bool(flags & 2),
        coarse=bool(flags & 4),
        without_model=bool(flags & 8),
        **told,
    )


def _writer(position: Mapping[str, str]) -> Writer | None:
    if "next_offset" not in position:
        return None
    updated = int(position.get("updated_ms", 0)) * 1_000
    return Writer("redis", position.get("topic", ""), int(position["next_offset"]), updated)


def _profile(customer_id: str, told: Mapping[str, str]) -> Profile:
    score = told.get("last_score")
    return Profile(
        customer_id=customer_id,
        transactions=int(told.get("transactions", 0)),
        flagged=int(told.get("flagged", 0)),
        blocked=int(told.get("blocked", 0)),
        last_seen_micros=int(told.get("last_seen_micros", 0)),
        last_amount_minor=int(told.get("last_amount_minor", 0)),
        last_currency=told.get("last_currency") or None,
        last_country=told.get("last_country") or None,
        last_merchant_id=told.get("last_merchant_id") or None,
        last_action=told.get("last_action", "review"),
        last_score=float(score) if score else None,
        last_reasons=tuple(filter(None, told.get("last_reasons", "").split(","))),
        scores=tuple(float(each) for each in told.get("scores", "").split(",") if each),
    )
