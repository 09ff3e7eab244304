"""TLS and passwords everywhere: the same settings that lead to a plain server lead to a secured one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import psycopg
import pytest
from redis import Redis
from secured import Authority, SecuredKafka, running_broker, tls_front
from service_stack import Fresh
from small_bundle import small_bundle
from stream_process import StreamUnderTest
from stream_topics import records_of
from wire_messages import produce

from fraudengine import config, services
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.services.topics import create_topics
from fraudengine.training import BoosterOptions, ForestOptions


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fraudengine-secured-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder / "certificates")


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return generate(SyntheticConfig(customers=100, merchants=60, days=40, fraud_rate=0.05, seed=5))


@pytest.fixture(scope="module")
def bundle(history: pl.DataFrame, folder: Path) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(history, folder / "model", booster, forest, test_days=10)


@dataclass
class Secured:
    """Secured servers, and the settings of a stream between them."""

    root: Path
    postgres: str
    """A database, by its plain door."""
    postgres_port: int
    redis: str
    settings: dict[str, object]

    def postgres_at(self, host: str, mode: str, root: Path | None = None) -> str:
        """Return the URL of the secured door, whose certificate is for `localhost`."""
        plain = urlsplit(self.postgres)
        secured = plain._replace(
            netloc=f"{plain.username}@{host}:{self.postgres_port}",
            query=f"sslmode={mode}&sslrootcert={root or self.root}",
        )
        return secured.geturl()


@pytest.fixture(scope="module")
def secured(
    stack: services.Stack, folder: Path, authority: Authority, history: pl.DataFrame
) -> Iterator[Secured]:
    fresh = Fresh(stack)
    context = authority.server("localhost")
    broker = SecuredKafka(384, authority)
    with (
        running_broker(broker, folder) as brokers,
        tls_front(stack.postgres_url, context, postgres=True) as postgres_port,
        tls_front(stack.redis_url, context) as redis_port,
    ):
        postgres, redis = fresh.postgres(), fresh.redis()
        settings: dict[str, object] = {
            "kafka.brokers": brokers,
            "kafka.client": broker.client(),
            "redis.url": f"rediss://localhost:{redis_port}/{redis.rpartition('/')[2]}",
        }
        kafka = config.load(flags=settings).kafka
        create_topics(kafka)
        produce(brokers, kafka.transactions_topic, records_of(history), broker.client())
        yield Secured(authority.root, postgres, postgres_port, redis, settings)
    fresh.drop_databases()


def test_a_stream_between_secured_servers(
    secured: Secured, tmp_path: Path, bundle: Path, history: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a client trusts that names no certificates of its own: Redis has no such option in its URL.
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.root))
    own = {
        "postgres.url": secured.postgres_at("localhost", "verify-full"),
        "state.folder": tmp_path / "state",
    }

    def written(told: dict[str, Any]) -> bool:
        sinks = [told["sinks"].get(name, {}) for name in ("postgres", "redis")]
        return all(sink.get("rows") == history.height for sink in sinks)

    with StreamUnderTest(bundle, {**secured.settings, **own}, tmp_path) as stream:
        told = stream.await_status(written, 60, "every decision in both databases")
        assert told["delivered"] == history.height
        assert stream.stop() == 0
    with psycopg.connect(secured.postgres) as connection:
        rows = connection.execute("SELECT count(DISTINCT transaction_id) FROM transactions").fetchone()
    assert rows == (history["transaction_id"].n_unique(),)
    counters = Redis.from_url(secured.redis, decode_responses=True).hgetall("fraud:counters")
    assert int(counters["transactions"]) == history.height


@pytest.mark.parametrize(
    ("host", "mode", "right_root", "accepted"),
    [
        ("127.0.0.1", "require", True, True),
        ("127.0.0.1", "verify-ca", True, True),
        ("127.0.0.1", "verify-full", True, False),
        ("localhost", "verify-full", False, False),
        ("localhost", "require", False, False),
    ],
)
def test_a_certificate_is_checked_as_the_url_asks(
    secured: Secured, tmp_path: Path, bundle: Path, host: str, mode: str, right_root: bool, accepted: bool
) -> None:
    root = None if right_root else Authority(tmp_path / "stranger").root
    own = {
        "postgres.url": secured.postgres_at(host, mode, root),
        "redis.enabled": False,
        "kafka.group": f"{tmp_path.name}",
        "state.folder": tmp_path / "state",
    }
    with StreamUnderTest(bundle, {**secured.settings, **own}, tmp_path) as stream:

        def told_so(told: dict[str, Any]) -> bool:
            sink = told["sinks"].get("postgres", {})
            return bool(sink.get("state") == "running" if accepted else sink.get("error"))

        told = stream.await_status(told_so, 60, f"accepted: {accepted}")
        error = str(told["sinks"]["postgres"]["error"])
        assert accepted or "certificate verify failed" in error
        assert stream.stop() == 0
