"""The services that tests share: started once in a session, in a folder of their own, stopped by their ids.

A test takes names of its own (topics, a database, a Redis database), so that tests do not see one another.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import redis
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its stub

from fraudengine import config, services
from fraudengine.config import EmbeddedSettings, Settings

__all__ = ["Fresh", "embedded_settings", "started_stack"]

_REDIS_DATABASES = 1024


def embedded_settings(folder: Path, **changed: int) -> EmbeddedSettings:
    """Return the settings of services in this folder: free ports, a small heap."""
    wanted = {"kafka_heap_mb": 384, **changed}
    flags: dict[str, object] = {f"embedded.{key}": value for key, value in wanted.items()}
    return config.load(flags={"embedded.folder": folder, **flags}).embedded


@contextmanager
def started_stack() -> Iterator[services.Stack]:
    """Yield all three services in a new folder, which is removed with them."""
    # Not pytest's own folder: its parents are closed to the user that Postgres runs as when we are root.
    with tempfile.TemporaryDirectory(prefix="fraudengine-services-") as folder:
        settings = embedded_settings(Path(folder) / "data")
        Path(folder).chmod(0o711)
        try:
            yield services.up(settings)
        finally:
            services.down(settings.folder)


@dataclass
class Fresh:
    """Names that no other test has, on the services of the session."""

    stack: services.Stack
    _databases: list[str] = field(default_factory=list)
    _redis_number: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def name(self, stem: str) -> str:
        """Return a name that nobody else uses, for a topic or a group."""
        return f"{stem}-{uuid4().hex[:12]}"

    def topic(self, stem: str = "topic", partitions: int = 1, **properties: str) -> str:
        """Return the name of a new topic; properties are written with underscores (`retention_ms`)."""
        name = self.name(stem)
        new = NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=1,
            config={key.replace("_", "."): value for key, value in properties.items()},
        )
        client = AdminClient({"bootstrap.servers": self.stack.kafka_brokers})
        client.create_topics([new], operation_timeout=30)[name].result()
        return name

    def postgres(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test_{uuid4().hex[:12]}"
        with psycopg.connect(self.stack.postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        self._databases.append(name)
        return f"{self.stack.postgres_url.rpartition('/')[0]}/{name}"

    def redis(self) -> str:
        """Return the URL of an empty Redis database."""
        number = next(self._redis_number) % _REDIS_DATABASES
        url = f"{self.stack.redis_url.rpartition('/')[0]}/{number}"
        client = redis.Redis.from_url(url)
        client.flushdb()
        client.close()
        return url

    def settings(self, flags: Mapping[str, object] | None = None) -> Settings:
        """Return settings whose addresses, topics, group and databases are all new; `flags` win."""
        own = {
            "kafka.brokers": self.stack.kafka_brokers,
            "kafka.group": self.name("group"),
            "postgres.url": self.postgres(),
            "redis.url": self.redis(),
            "http.port": 0,
            **{
                f"kafka.{topic}_topic": self.name(topic)
                for topic in ("transactions", "labels", "decisions", "alerts", "dead_letter")
            },
        }
        return config.load(flags={**own, **(flags or {})})

    def drop_databases(self) -> None:
        """Drop the databases that were handed out, with whatever is still connected to them."""
        with psycopg.connect(self.stack.postgres_url, autocommit=True) as connection:
            for name in self._databases:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._databases.clear()
