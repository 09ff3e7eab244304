"""Services behind TLS: a broker that wants a password, and a front that speaks TLS for what cannot.

The Postgres and Redis of the test wheels are built without TLS, so a front terminates it; no client can tell.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fraudengine.services.kafka import Kafka
from fraudengine.services.ports import HOST, choose
from fraudengine.services.processes import Launch, spawn, stop, wait_until

__all__ = ["Authority", "SecuredKafka", "running_broker", "tls_front"]

USER, PASSWORD = "stream", "hush"
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""With which a client of Postgres asks for TLS."""


class Authority:
    """Issues the certificates of one test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.root = folder / "root.pem"
        self._ca.cert_pem.write_to_path(self.root)
        self._folder = folder

    def server(self, *names: str) -> ssl.SSLContext:
        """Return what a server needs that is called so."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    def keystore(self, *names: str) -> Path:
        """Return a file with key and certificates, as Java reads it."""
        issued = self._ca.issue_cert(*names)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        path = self._folder / "keystore.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(pem + b"".join(each.bytes() for each in issued.cert_chain_pems))
        path.chmod(0o600)
        return path


class SecuredKafka(Kafka):
    """A broker whose clients must use TLS and a password."""

    def __init__(self, heap_mb: int, authority: Authority) -> None:
        super().__init__(heap_mb)
        self._authority = authority

    def client(self) -> dict[str, str]:
        """Return the properties of a client that may come in."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self._authority.root),
        }

    def prepare(self, folder: Path, ports: Mapping[str, int], report: Callable[[str], None]) -> Launch:
        """Prepare a broker and close its plain door; of a property that occurs twice the last one counts."""
        launch = super().prepare(folder, ports, report)
        listener = f"SASL_SSL://{HOST}:{ports['kafka']}"
        login = "org.apache.kafka.common.security.plain.PlainLoginModule"
        own = {
            "listeners": f"{listener},CONTROLLER://{HOST}:{ports['kafka_controller']}",
            "advertised.listeners": listener,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                f'{login} required username="admin" password="inner" user_admin="inner" '
                f'user_{USER}="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._authority.keystore(HOST)),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authority.root),
        }
        with (folder / self.name / "server.properties").open("a") as properties:
            properties.writelines(f"{key}={value}\n" for key, value in own.items())
        return launch

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Tell whether the broker answers somebody who may come in."""
        client = AdminClient(
            {**self.client(), "bootstrap.servers": f"{HOST}:{ports['kafka']}", "log_level": 0}
        )
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False


@contextmanager
def running_broker(broker: SecuredKafka, folder: Path) -> Iterator[str]:
    """Run a broker in a folder; yield its address."""
    ports = choose(dict.fromkeys(broker.ports, 0), {})
    launch = broker.prepare(folder, ports, lambda _: None)
    process = spawn(launch)
    try:
        ready = wait_until(lambda: broker.answers(ports) or not process.alive(), broker.ready_seconds)
        assert ready, launch.log.read_text()[-4000:]
        assert process.alive(), launch.log.read_text()[-4000:]
        yield f"{HOST}:{ports['kafka']}"
    finally:
        stop(process, broker.stop_signal, deadline_seconds=broker.stop_seconds)


@contextmanager
def tls_front(url: str, context: ssl.SSLContext, *, postgres: bool = False) -> Iterator[int]:
    """Speak TLS in front of the server at a URL; yield the port of the front, on this machine."""
    target = urlsplit(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls-front")
    thread.start()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if postgres:
                assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST, "TLS was not asked for"
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(context)
            inner = await asyncio.open_connection(target.hostname, target.port)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            writer.close()
            return
        await asyncio.gather(relay(reader, inner[1]), relay(inner[0], writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(serve, HOST, 0, ssl=None if postgres else context)

    async def end() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
