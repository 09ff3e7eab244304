"""The server: one event loop, one engine, one port.

Health says SERVING only between start and drain. Without TLS it listens on loopback addresses only, unless
told otherwise; with a file of tokens every call but health needs one.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import start_http_server

from fraudengine import _native
from fraudengine.errors import ConfigError
from fraudengine.serving.admission import Admission
from fraudengine.serving.auth import Clients
from fraudengine.serving.guard import Guard
from fraudengine.serving.metrics import Metrics
from fraudengine.serving.scoring import SERVICE, ScoringService
from fraudengine.serving.strict import Strict

if TYPE_CHECKING:
    from pathlib import Path

    from fraudengine.bundle import Bundle
    from fraudengine.config import Settings
    from fraudengine.engine import Engine
    from fraudengine.serving.inference import InferenceService
    from fraudengine.settings import ServeSettings

__all__ = ["ScoringServer"]

_CALLS_BESIDE = 64
"""Calls beyond `serve.calls_max` that grpcio lets through: health, reflection, and what is turned away."""


class ScoringServer:
    """A scoring service with a state of its own, which begins empty. Made and used inside an event loop.

    Parameters
    ----------
    settings
        Effective settings.
    bundle
        Model to decide with.

    Raises
    ------
    ConfigError
        A setting cannot be used.

    """

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        serve = settings.serve
        self._drain_seconds = serve.drain_seconds
        self.metrics = Metrics()
        engine = engine_of(settings, bundle)
        scoring = _native.Scoring(
            engine._native,
            bundle_hash=bundle.hash,
            answers_kept=serve.answers_kept,
            ahead_micros_max=int(settings.engine.ahead_seconds_max * 1e6),
        )
        admission = Admission(serve.calls_max, serve.rows_max, self.metrics)
        self._service = ScoringService(scoring, admission, self.metrics)
        self._names = [SERVICE]
        guards = [Guard(Clients(serve.tokens), self.metrics)] if serve.tokens.name else []
        self._server = grpc.aio.server(
            interceptors=guards,
            maximum_concurrent_rpcs=serve.calls_max + _CALLS_BESIDE,
            options=_options(serve),
        )
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        self._inference: InferenceService | None = None
        if serve.inference:
            # Not imported before it is needed: a process may have another module with these message names.
            from fraudengine.serving import inference

            self._inference = inference.InferenceService(bundle, admission, self.metrics)
            self._server.add_generic_rpc_handlers((self._inference.handlers(),))
            self._names.append(inference.SERVICE)
        self._health = health.aio.HealthServicer()
        strict = Strict(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, strict)
        if serve.reflection:
            names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            told = reflection.aio.ReflectionServicer(names)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(told, strict)
        self.address = _bound(self._server, serve)
        try:
            http, self._http_thread = start_http_server(
                settings.http.port, settings.http.host, self.metrics.registry
            )
        except OSError as error:
            where = f"{settings.http.host}:{settings.http.port}"
            raise ConfigError(f"http.host and http.port: {where}: {error.strerror}") from error
        self._http = http
        self.metrics_address = f"http://{settings.http.host}:{http.server_port}/metrics"

    async def start(self) -> None:
        """Answer calls from now on."""
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Take no more calls, let those under way end for `serve.drain_seconds`, then cancel them."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._inference:
            self._inference.drain()
        await self._server.stop(self._drain_seconds)
        self._service.close()
        if self._inference:
            self._inference.close()
        self._http.shutdown()
        self._http.server_close()
        self._http_thread.join()

    async def _say(self, status: int) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)


def engine_of(settings: Settings, bundle: Bundle) -> Engine:
    """Return an engine that decides with a bundle, by the settings of the section `[engine]`."""
    told = settings.engine
    return bundle.engine(
        threads=told.threads,
        lateness=timedelta(seconds=told.lateness_seconds),
        entities_max=told.entities_max,
        memory_max_bytes=told.memory_max_bytes,
        reference_currency=told.reference_currency,
        rates=told.rates,
    )


def _options(serve: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", serve.message_bytes_max),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.server.max_pending_requests", serve.backlog_max),
        ("grpc.server.max_pending_requests_hard_limit", serve.backlog_max),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def _bound(server: grpc.aio.Server, serve: ServeSettings) -> str:
    """Bind the port; return the address, `HOST:PORT`."""
    where = f"{serve.host}:{serve.port}"
    if serve.tls_certificate.name:
        pair = (_read(serve.tls_key, "tls_key"), _read(serve.tls_certificate, "tls_certificate"))
        ca = _read(serve.tls_client_ca, "tls_client_ca") if serve.tls_client_ca.name else None
        credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
    elif not (serve.plaintext_anywhere or _is_loopback(serve.host)):
        raise ConfigError(
            f"serve.host is {serve.host}, not a loopback address: set serve.tls_certificate and "
            "serve.tls_key, or serve.plaintext_anywhere"
        )
    else:
        credentials = None
    try:
        if credentials is None:
            port = server.add_insecure_port(where)
        else:
            port = server.add_secure_port(where, credentials)
    except RuntimeError as error:
        raise ConfigError(f"serve.host and serve.port: {where} cannot be used") from error
    return f"{serve.host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"serve.{key} {path} cannot be read: {error.strerror}") from error
