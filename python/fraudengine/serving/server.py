"""The server: one event loop, one port, and an engine of its own or a replica of the stream's.

A second port may answer scoring alone, without the interpreter (`native_transport`).

Health says SERVING only between start and drain, and only while the state is there. Without TLS it listens on
loopback addresses only, unless told otherwise; with a file of tokens every call but health needs one.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import start_http_server

from fraudengine import _native
from fraudengine.errors import ConfigError
from fraudengine.log_lines import wants_json
from fraudengine.serving.admin import AdminServer
from fraudengine.serving.admission import Admission
from fraudengine.serving.auth import Clients
from fraudengine.serving.calls import CallLog, CallLogger
from fraudengine.serving.front import Front
from fraudengine.serving.guard import Guard
from fraudengine.serving.metrics import Metrics
from fraudengine.serving.native_transport import NativeFigures, native_json
from fraudengine.serving.operators import OwnOperator, StreamOperator
from fraudengine.serving.own_state import StateKeeper
from fraudengine.serving.ports import bound
from fraudengine.serving.scoring import SERVICE, OwnScoringService, ScoringService
from fraudengine.serving.store_services import StoreServices
from fraudengine.serving.strict import Strict
from fraudengine.serving.through_stream import StreamScoringService
from fraudengine.streaming.client import OperatorClient
from fraudengine.streaming.models import ActiveModels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fraudengine.bundle import Bundle
    from fraudengine.config import Settings
    from fraudengine.engine import Engine
    from fraudengine.serving.inference import InferenceService
    from fraudengine.serving.operators import Operator
    from fraudengine.settings import ServeSettings

__all__ = ["ScoringServer"]

_OF_THE_STATE = ("", SERVICE)
"""What health tells of whoever needs the state: the server as a whole, and scoring."""
_CALLS_BESIDE = 64
"""Calls beyond `serve.calls_max` that grpcio lets through: health, reflection, and what is turned away."""


class ScoringServer:
    """A scoring service by itself or in front of the stream. Made and used inside an event loop.

    Parameters
    ----------
    settings
        Effective settings; `serve.mode` says who decides.
    bundle
        Model to decide with. In front of the stream: for answers where the stream is late; `None` answers
        those by the amount alone.

    Raises
    ------
    ConfigError
        A setting cannot be used, or a bundle is missing.
    SnapshotError
        The state that was kept is refused.
    ServiceError
        In front of the stream: an address is missing.

    """

    def __init__(self, settings: Settings, bundle: Bundle | None) -> None:
        serve = settings.serve
        self._drain_seconds = serve.drain_seconds
        self._draining = False
        self._saying: set[asyncio.Future[None]] = set()
        self.metrics = Metrics()
        admission = Admission(serve.calls_max, serve.rows_max, self.metrics)
        keeper, remembered = _kept(settings)
        if remembered is not None:
            bundle = remembered.at_start(bundle)
        self.bundle = bundle
        """The model it starts with: the one that was given, or the one that was activated after it."""
        self._service = _service(settings, bundle, keeper, admission, self.metrics)
        self._store_services = StoreServices(settings, self.metrics, self._service.customer_windows)
        self._names = [SERVICE, *StoreServices.names]
        self._logger = CallLogger(settings.log)
        calls = CallLog(serve, self._logger)
        clients = Clients(serve.tokens) if serve.tokens.name else None
        guard = Guard(clients, self.metrics) if clients is not None else None
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=serve.calls_max + serve.watchers_max + _CALLS_BESIDE,
            options=_options(serve),
        )
        front = Front(calls, guard)
        self._server.add_generic_rpc_handlers((front,))
        front.add_generic_rpc_handlers((self._service.handlers(), *self._store_services.handlers()))
        self._inference: InferenceService | None = None
        if serve.inference:
            if bundle is None:
                raise ConfigError("serve.inference is true, which needs a bundle")
            # Not imported before it is needed: a process may have another module with these message names.
            from fraudengine.serving import inference

            self._inference = inference.InferenceService(bundle, admission, self.metrics)
            front.add_generic_rpc_handlers((self._inference.handlers(),))
            self._names.append(inference.SERVICE)
        self._health = health.aio.HealthServicer()
        strict = Strict(front)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, strict)
        if serve.reflection:
            names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            told = reflection.aio.ReflectionServicer(names)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(told, strict)
        self.address = bound(self._server, serve)
        self._native = _native_transport(settings, self._service, clients, self.metrics)
        self.native_address = self._native.address if self._native else None
        try:
            http, self._http_thread = start_http_server(
                settings.http.port, settings.http.host, self.metrics.registry
            )
        except OSError as error:
            where = f"{settings.http.host}:{settings.http.port}"
            raise ConfigError(f"http.host and http.port: {where}: {error.strerror}") from error
        self._http = http
        self.drain_asked = asyncio.Event()
        """Set when an operator wants the process to end in order."""
        self._admin: AdminServer | None = None
        if serve.admin_port >= 0:
            operator = _operator(settings, bundle, self._service, self._activate, remembered)
            self._admin = AdminServer(serve, operator, self.drain_asked.set, calls, self.metrics)
        self.admin_address = self._admin.address if self._admin else None
        self.metrics_address = f"http://{settings.http.host}:{http.server_port}/metrics"

    def _activate(self, bundle: Bundle) -> None:
        """Answer with another bundle from the next call on."""
        self._service.activate(bundle)
        if self._inference is not None:
            self._inference.use(bundle)

    async def start(self) -> None:
        """Answer calls from now on."""
        await self._server.start()
        if self._admin:
            await self._admin.start()
        response = health_pb2.HealthCheckResponse
        await self._say(response.SERVING, self._names)
        await self._say(response.NOT_SERVING, _OF_THE_STATE)
        self._service.start(self._say_ready)

    async def stop(self) -> None:
        """Take no more calls, let those under way end for `serve.drain_seconds`, then cancel them."""
        self._draining = True
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING, ("", *self._names))
        if self._admin:
            await self._admin.stop()
        if self._inference:
            self._inference.drain()
        await self._store_services.drain()
        loop = asyncio.get_running_loop()
        transports = [self._server.stop(self._drain_seconds)]
        if self._native:
            transports.append(loop.run_in_executor(None, self._native.stop, self._drain_seconds))
        await asyncio.gather(*transports)
        await loop.run_in_executor(None, self._service.close)
        await self._store_services.close()
        if self._inference:
            self._inference.close()
        self._http.shutdown()
        self._http.server_close()
        self._http_thread.join()
        self._logger.close()

    def _say_ready(self, ready: bool) -> None:
        """Tell health whether the state is there, unless calls are no longer taken anyway."""
        response = health_pb2.HealthCheckResponse
        if not self._draining:
            status = response.SERVING if ready else response.NOT_SERVING
            if self._native:
                self._native.say_ready(ready)
            said = asyncio.ensure_future(self._say(status, _OF_THE_STATE))
            # The loop itself holds no reference to a task.
            self._saying.add(said)
            said.add_done_callback(self._saying.discard)

    async def _say(self, status: int, names: Iterable[str]) -> None:
        for name in names:
            await self._health.set(name, status)


def _kept(settings: Settings) -> tuple[StateKeeper | None, ActiveModels | None]:
    """Return who keeps state and choice of model across restarts, where somebody does."""
    folder = settings.serve.state_folder
    if settings.serve.mode != "own" or not folder.name:
        return None, None
    # It holds the folder against other processes from now on.
    keeper = StateKeeper(settings.serve, settings.engine)
    return keeper, ActiveModels(folder)


def _service(
    settings: Settings,
    bundle: Bundle | None,
    keeper: StateKeeper | None,
    admission: Admission,
    metrics: Metrics,
) -> ScoringService:
    """Return who answers, by `serve.mode`."""
    if settings.serve.mode == "stream":
        return StreamScoringService(settings, bundle, admission, metrics)
    if bundle is None:
        raise ConfigError('serve.mode is "own", which needs a bundle')
    engine = keeper.load() if keeper is not None else None
    if engine is None:
        engine = engine_of(settings, bundle)
    else:
        bundle.activate_on(engine)
    scoring = _native.Scoring(
        engine._native,
        bundle_hash=bundle.hash,
        answers_kept=settings.serve.answers_kept,
        ahead_micros_max=int(settings.engine.ahead_seconds_max * 1e6),
        warm_transactions=settings.serve.warm_transactions,
    )
    return OwnScoringService(scoring, admission, metrics, engine, keeper)


def _native_transport(
    settings: Settings, service: ScoringService, clients: Clients | None, metrics: Metrics
) -> _native.GrpcServer | None:
    """Return the second transport, if `serve.native_port` asks for one."""
    if settings.serve.native_port < 0:
        return None
    # It and what is behind it log by themselves.
    _native.init_logging(settings.log.level, wants_json(settings.log))
    callers = None if clients is None else clients.native
    opened = _native.GrpcServer(service.native, native_json(settings.serve), callers)
    metrics.registry.register(NativeFigures(opened.figures))
    return opened


def _operator(
    settings: Settings,
    bundle: Bundle | None,
    service: ScoringService,
    activate: Callable[[Bundle], None],
    remembered: ActiveModels | None,
) -> Operator:
    """Return what the admin service acts on: the stream that is named, or this process."""
    serve = settings.serve
    if serve.admin_stream:
        return StreamOperator(OperatorClient(serve.admin_stream), activate)
    if bundle is None or not isinstance(service, OwnScoringService):
        raise ConfigError('serve.mode is "stream": serve.admin_port needs serve.admin_stream')
    folder = serve.state_folder if serve.state_folder.name else settings.state.folder
    return OwnOperator(bundle, activate, service.snapshot, folder, remembered)


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
