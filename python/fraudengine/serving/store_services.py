"""The services beside scoring, on its port: monitoring and labels, over PostgreSQL, Redis and Kafka.

Nothing connects before it is asked, so that scoring starts and goes on without them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fraudengine.serving import labels, monitoring
from fraudengine.serving.labels import LabelService
from fraudengine.serving.methods import Methods
from fraudengine.serving.monitoring import MonitoringService
from fraudengine.serving.topic_ends import TopicEnds
from fraudengine.serving.watching import Watching
from fraudengine.stores.reader import Stores
from fraudengine.verdicts.topic import LabelTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from fraudengine.config import Settings
    from fraudengine.serving.metrics import Metrics

__all__ = ["StoreServices"]


class StoreServices:
    """Both services. Made and used inside an event loop.

    Parameters
    ----------
    settings
        Effective settings.
    metrics
        What is counted.
    windows
        See `MonitoringService`.

    """

    names = (monitoring.SERVICE, labels.SERVICE)
    """Full names of the services."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        windows: Callable[[str], Mapping[str, float]],
    ) -> None:
        serve = settings.serve
        self._stores = Stores(settings)
        self._topic = LabelTopic(settings)
        methods = Methods(metrics, serve.query_seconds_max)
        watching = Watching(self._stores, methods, serve.watchers_max, serve.watch_queue_max)
        self._monitoring = MonitoringService(self._stores, TopicEnds(settings), watching, methods, windows)
        self._labels = LabelService(self._stores, self._topic, methods)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the methods of each service."""
        return self._monitoring.handlers(), self._labels.handlers()

    async def drain(self) -> None:
        """End the live feeds, which would go on for ever."""
        if self._stores.feeds is not None:
            await self._stores.feeds.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._stores.close()
        await asyncio.get_running_loop().run_in_executor(None, self._topic.close)
