"""`AdminService`: what operators do with a running service; a port of its own, never without credentials."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import grpc

from fraudengine.errors import ConfigError, FraudEngineError, StreamError, StreamRefusedError
from fraudengine.serving import requests
from fraudengine.serving.auth import Clients
from fraudengine.serving.front import Front
from fraudengine.serving.guard import Guard
from fraudengine.serving.methods import Methods
from fraudengine.serving.ports import bound
from fraudengine.serving.refusals import CallError, InvalidError, retry_later
from fraudengine.wire.admin_pb2 import (
    ActivateModelRequest,
    ActivateModelResponse,
    DrainRequest,
    DrainResponse,
    GetModelRequest,
    GetModelResponse,
    ModelBundle,
    RollBackModelRequest,
    RollBackModelResponse,
    TakeSnapshotRequest,
    TakeSnapshotResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraudengine.serving.calls import CallLog
    from fraudengine.serving.methods import Time
    from fraudengine.serving.metrics import Metrics
    from fraudengine.serving.operators import Model, Operator
    from fraudengine.settings import ServeSettings

__all__ = ["SERVICE", "AdminServer"]

SERVICE = "fraudengine.v1.AdminService"
_PATH_BYTES_MAX = 4_096
_HASH_DIGITS = 64
_SECONDS_MAX = 120.0
_CALLS_MAX = 8
_GRACE_SECONDS = 1.0

T = TypeVar("T")


class AdminServer:
    """The port of the service.

    Parameters
    ----------
    serve
        Address and credentials.
    operator
        What the calls act on.
    drain
        Asks the process to end in order.
    calls
        Tells about each call.
    metrics
        What is counted.

    Raises
    ------
    ConfigError
        There are no credentials, or the address cannot be used.

    """

    def __init__(
        self,
        serve: ServeSettings,
        operator: Operator,
        drain: Callable[[], object],
        calls: CallLog,
        metrics: Metrics,
    ) -> None:
        has_tokens, has_ca = bool(serve.admin_tokens.name), bool(serve.admin_client_ca.name)
        if not (has_tokens or has_ca):
            raise ConfigError(
                f"serve.admin_port is {serve.admin_port}, which needs credentials: set serve.admin_tokens or "
                "serve.admin_client_ca"
            )
        if has_ca and not serve.tls_certificate.name:
            raise ConfigError("serve.admin_client_ca needs serve.tls_certificate and serve.tls_key")
        guard = Guard(Clients(serve.admin_tokens, "serve.admin_tokens"), metrics) if has_tokens else None
        self._service = AdminService(operator, drain, Methods(metrics, _SECONDS_MAX))
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_CALLS_MAX,
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 65_536)],
        )
        front = Front(calls, guard)
        front.add_generic_rpc_handlers((self._service.handlers(),))
        self._server.add_generic_rpc_handlers((front,))
        self.address = bound(self._server, serve, "admin_")

    async def start(self) -> None:
        """Answer calls from now on."""
        await self._server.start()

    async def stop(self) -> None:
        """Let calls under way end for a second."""
        await self._server.stop(_GRACE_SECONDS)
        self._service.close()


class AdminService:
    """The handlers of the service. Calls act one after the other."""

    def __init__(self, operator: Operator, drain: Callable[[], object], methods: Methods) -> None:
        self._operator = operator
        self._drain = drain
        self._methods = methods
        self._one = ThreadPoolExecutor(max_workers=1, thread_name_prefix="admin")

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods by name."""
        unary = self._methods.unary
        methods = {
            "GetModel": unary("GetModel", GetModelRequest, self.get_model),
            "ActivateModel": unary("ActivateModel", ActivateModelRequest, self.activate_model),
            "RollBackModel": unary("RollBackModel", RollBackModelRequest, self.roll_back_model),
            "TakeSnapshot": unary("TakeSnapshot", TakeSnapshotRequest, self.take_snapshot),
            "Drain": unary("Drain", DrainRequest, self.drain),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def close(self) -> None:
        """Wait for the call under way."""
        self._one.shutdown()

    async def get_model(self, _asked: GetModelRequest, _time: Time) -> GetModelResponse:
        """Answer one `GetModelRequest`."""
        active, previous = await self._done(self._operator.models)
        return GetModelResponse(active=_told(active), previous=_told(previous) if previous else None)

    async def activate_model(self, asked: ActivateModelRequest, _time: Time) -> ActivateModelResponse:
        """Answer one `ActivateModelRequest`."""
        path = requests.text(asked.path, "path", bytes_max=_PATH_BYTES_MAX)
        if not path.startswith("/"):
            raise InvalidError("path", "RELATIVE", "path is relative, must be absolute")
        wanted = asked.hash.lower()
        if wanted and (len(wanted) != _HASH_DIGITS or not set(wanted) <= set("0123456789abcdef")):
            raise InvalidError("hash", "MALFORMED", f"hash is not {_HASH_DIGITS} hexadecimal digits")
        active = await self._done(lambda: self._operator.activate(path, wanted))
        return ActivateModelResponse(active=_told(active))

    async def roll_back_model(self, _asked: RollBackModelRequest, _time: Time) -> RollBackModelResponse:
        """Answer one `RollBackModelRequest`."""
        return RollBackModelResponse(active=_told(await self._done(self._operator.roll_back)))

    async def take_snapshot(self, _asked: TakeSnapshotRequest, _time: Time) -> TakeSnapshotResponse:
        """Answer one `TakeSnapshotRequest`."""
        path, length = await self._done(self._operator.snapshot)
        return TakeSnapshotResponse(path=path, bytes=length)

    async def drain(self, _asked: DrainRequest, _time: Time) -> DrainResponse:
        """Answer one `DrainRequest`; what follows begins when the answer is on its way."""
        asyncio.get_running_loop().call_later(0.05, self._drain)
        return DrainResponse()

    async def _done(self, work: Callable[[], T]) -> T:
        """Run work of an operator on its thread; what was begun is finished, whoever waits for it."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(loop.run_in_executor(self._one, work))
        except StreamRefusedError as error:
            raise CallError(grpc.StatusCode.FAILED_PRECONDITION, "REFUSED", str(error)) from error
        except StreamError as error:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, "STREAM_UNAVAILABLE", str(error), retry_later(1.0)
            ) from error
        except FraudEngineError as error:
            raise CallError(grpc.StatusCode.FAILED_PRECONDITION, "REFUSED", str(error)) from error


def _told(model: Model) -> ModelBundle:
    return ModelBundle(path=model.path, hash=model.hash)
