"""Both stores, with the addresses of the settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fraudengine.errors import StoreError
from fraudengine.money import Worth
from fraudengine.stores.feed import Feeds
from fraudengine.stores.history import History
from fraudengine.stores.live import Live
from fraudengine.stores.postgres import Postgres
from fraudengine.stores.quality import Quality
from fraudengine.stores.queue import AlertQueue

if TYPE_CHECKING:
    from fraudengine.config import Settings

__all__ = ["Stores"]


class Stores:
    """What the stream wrote, read asynchronously. Made and used inside one event loop; connects when asked.

    Parameters
    ----------
    settings
        Effective settings. A store that is switched off is `None` here; an address that is empty is that of
        the embedded service, looked up at each connection.

    """

    def __init__(self, settings: Settings) -> None:
        self.history: History | None = None
        """PostgreSQL; `None`: `postgres.enabled` is false."""
        self.live: Live | None = None
        """Redis; `None`: `redis.enabled` is false."""
        self.feeds: Feeds | None = None
        """The live feeds of Redis; `None`: `redis.enabled` is false."""
        self.queue: AlertQueue | None = None
        """The analysts' queue; `None`: `postgres.enabled` is false."""
        self.quality: Quality | None = None
        """How good the decisions were; `None`: `postgres.enabled` is false."""
        self.postgres: Postgres | None = None
        """The connections; `None`: `postgres.enabled` is false."""
        if settings.postgres.enabled:
            self.postgres = Postgres(lambda: settings.resolved(only=["postgres"]).postgres.url)
            self.history = History(self.postgres)
            self.queue = AlertQueue(self.postgres, Worth.of(settings.engine))
            self.quality = Quality(self.postgres)
        if settings.redis.enabled:
            self.live = Live(lambda: settings.resolved(only=["redis"]).redis.url)
            self.feeds = Feeds(self.live)

    async def outages(self, *, seconds: float) -> dict[str, StoreError]:
        """Return the stores that are switched on and do not answer in that time, with the reason."""
        asked = {"postgres": self.history, "redis": self.live}
        found = {name: store for name, store in asked.items() if store is not None}
        told = await asyncio.gather(
            *(store.answer(seconds=seconds) for store in found.values()), return_exceptions=True
        )
        outages: dict[str, StoreError] = {}
        for name, error in zip(found, told, strict=True):
            if isinstance(error, StoreError):
                outages[name] = error
            elif error is not None:
                raise error
        return outages

    async def close(self) -> None:
        """Close every connection."""
        if self.feeds is not None:
            await self.feeds.close()
        if self.live is not None:
            await self.live.close()
        if self.postgres is not None:
            await self.postgres.close()
