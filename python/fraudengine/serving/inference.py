"""`inference.GRPCInferenceService`: the model alone, for clients of model servers.

The Open Inference Protocol, version 2: feature vectors in, score, action and anomaly out; there is no state.
What each field means is in `proto/inference/inference.proto`, what a tensor must look like in `tensors.py`.
One thread runs the model and releases the GIL, so single transactions are decided meanwhile.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError

from fraudengine.features import catalogue_hash
from fraudengine.serving.admission import Admitting
from fraudengine.serving.refusals import bad_request, refuse
from fraudengine.serving.tensors import INPUT, OUTPUTS, TensorError, answer_of, features_of, metadata_of
from fraudengine.wire.inference_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from fraudengine._native import Predictor
    from fraudengine.bundle import Bundle
    from fraudengine.serving.admission import Admission
    from fraudengine.serving.metrics import Metrics

__all__ = ["MODEL", "SERVICE", "InferenceService"]

SERVICE = "inference.GRPCInferenceService"
MODEL = "fraudengine"
"""Name of the model, the server and the platform."""

_ID_BYTES_MAX = 128
_VECTOR_BYTES = 4 * INPUT.shape[1]

Request = TypeVar("Request", bound="Message")


class _Model(NamedTuple):
    predictor: Predictor
    version: str


class InferenceService:
    """The handlers of the service.

    Parameters
    ----------
    bundle
        The model.
    admission
        How much is let in.
    metrics
        What is counted.

    """

    def __init__(self, bundle: Bundle, admission: Admission, metrics: Metrics) -> None:
        self._admission = admission
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._ready = True
        self.use(bundle)

    def use(self, bundle: Bundle) -> None:
        """Infer with this model from the next request on."""
        # Together: another thread may do this while a request is under way.
        self._model = _Model(bundle.predictor(), bundle.hash[:16])

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods by name, all of them on bytes."""
        methods = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
        }
        free = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        several = {"ModelInfer": grpc.unary_unary_rpc_method_handler(self.model_infer)}
        return Admitting(SERVICE, {}, several, self._admission, free)

    def drain(self) -> None:
        """Say from now on that the server is not ready."""
        self._ready = False

    def close(self) -> None:
        """Wait for the requests under way."""
        self._thread.shutdown()

    async def server_live(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ServerLiveRequest`."""
        await _parsed(ServerLiveRequest, request, context)
        return _bytes(ServerLiveResponse(live=True))

    async def server_ready(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ServerReadyRequest`."""
        await _parsed(ServerReadyRequest, request, context)
        return _bytes(ServerReadyResponse(ready=self._ready))

    async def model_ready(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ModelReadyRequest`."""
        asked = await _parsed(ModelReadyRequest, request, context)
        served = asked.name == MODEL and asked.version in ("", self._model.version)
        return _bytes(ModelReadyResponse(ready=self._ready and served))

    async def server_metadata(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ServerMetadataRequest`."""
        await _parsed(ServerMetadataRequest, request, context)
        return _bytes(ServerMetadataResponse(name=MODEL, version=version("fraudengine")))

    async def model_metadata(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ModelMetadataRequest`."""
        asked = await _parsed(ModelMetadataRequest, request, context)
        model = await self._model_for(asked.name, asked.version, context)
        response = ModelMetadataResponse(
            name=MODEL,
            versions=[model.version],
            platform=MODEL,
            inputs=[metadata_of(INPUT)],
            outputs=[metadata_of(tensor) for tensor in OUTPUTS],
        )
        return _bytes(response)

    async def model_infer(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one `ModelInferRequest`."""
        with self._metrics.call("ModelInfer"):
            # So many vectors the bytes can hold.
            rows = len(request) // _VECTOR_BYTES + 1
            if not self._admission.enter(rows):
                await self._admission.turn_away(context)
            try:
                return await self._inferred(request, context)
            except TensorError as error:
                self._metrics.refused.labels("tensor").inc()
                detail = bad_request(error.field, error.message)
                await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "TENSOR", error.message, detail)
            finally:
                self._admission.leave(rows)

    async def _inferred(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        asked = await _parsed(ModelInferRequest, request, context)
        model = await self._model_for(asked.model_name, asked.model_version, context)
        told = asked.parameters.get("catalogue_hash")
        if told is not None and told.string_param != catalogue_hash():
            message = f"catalogue_hash is {told.string_param[:64]!r}, the model reads {catalogue_hash()}"
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "CATALOGUE_DIFFERS", message)
        if len(asked.id.encode()) > _ID_BYTES_MAX:
            raise TensorError("id", f"id has more than {_ID_BYTES_MAX} bytes")
        rows = features_of(asked)
        response = ModelInferResponse(model_name=MODEL, model_version=model.version, id=asked.id)
        loop = asyncio.get_running_loop()
        predicted = await loop.run_in_executor(self._thread, model.predictor.predict, rows)
        wanted = [each.name for each in asked.outputs]
        answer_of(predicted, wanted, response, raw=bool(asked.raw_input_contents))
        return _bytes(response)

    async def _model_for(self, name: str, wanted: str, context: grpc.aio.ServicerContext) -> _Model:
        model = self._model
        if name != MODEL:
            message = f"there is no model {name[:64]!r}, this server has {MODEL!r}"
        elif wanted not in ("", model.version):
            message = f"version {wanted[:64]!r} of {MODEL!r} is not served, {model.version!r} is"
        else:
            return model
        await refuse(context, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", message)


async def _parsed(kind: type[Request], request: bytes, context: grpc.aio.ServicerContext) -> Request:
    try:
        asked: Request = kind.FromString(request)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED", f"the request is no {name}")
    return asked


def _bytes(message: Message) -> bytes:
    made: bytes = message.SerializeToString()
    return made
