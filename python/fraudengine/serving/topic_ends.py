"""Where topics end, asked of the broker: the lag of a reader is the distance to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its stub

from fraudengine.errors import ServiceError

if TYPE_CHECKING:
    from fraudengine.config import Settings

__all__ = ["TopicEnds"]


class TopicEnds:
    """Asks the broker of the settings; connects when first asked.

    Parameters
    ----------
    settings
        Effective settings.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AdminClient | None = None

    async def of(self, topic: str, seconds: float) -> int | None:
        """Return the offset behind the last record of a topic of one partition; `None`: nobody says."""
        try:
            client = self._connected()
            partition = TopicPartition(topic, 0)
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no types
            asked = client.list_offsets({partition: latest}, request_timeout=max(0.1, seconds))
            told = await asyncio.wait_for(asyncio.wrap_future(asked[partition]), max(0.0, seconds))
        except (KafkaException, ServiceError, TimeoutError):
            return None
        end: int = told.offset
        return end

    def _connected(self) -> AdminClient:
        if self._client is None:
            kafka = self._settings.resolved(only=["kafka"]).kafka
            # Its own log would repeat every failure of a connection.
            told: dict[str, str | int | float | bool] = {
                "log_level": 0,
                **kafka.client,
                "bootstrap.servers": kafka.brokers,
            }
            self._client = AdminClient(told)
        return self._client
