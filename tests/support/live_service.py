"""A stream with its stores and a service beside it, and calls to the service by the messages of a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from scoring_server import TIMEOUT_SECONDS, details, running
from service_stack import Fresh
from stream_process import StreamUnderTest
from stream_topics import Topics, new_topics

from fraudengine.wire import admin_pb2, labeling_pb2, monitoring_pb2

__all__ = ["LiveService", "ask", "invalid_field", "live_service", "refused", "watch"]

_MODULES = {
    "MonitoringService": monitoring_pb2,
    "LabelService": labeling_pb2,
    "AdminService": admin_pb2,
}

Metadata = tuple[tuple[str, str], ...]


@dataclass
class LiveService:
    """What runs in a test."""

    topics: Topics
    settings: dict[str, object]
    stream: StreamUnderTest
    channel: grpc.Channel


@contextmanager
def live_service(
    fresh: Fresh, bundle: Path, folder: Path, more: Mapping[str, object] | None = None
) -> Iterator[LiveService]:
    """Yield a stream over new topics and stores, and a service that reads them."""
    topics = new_topics(fresh, folder)
    settings = {
        **topics.settings(),
        "postgres.enabled": True,
        "postgres.url": fresh.postgres(),
        "postgres.batch_wait_ms": 20,
        "redis.enabled": True,
        "redis.url": fresh.redis(),
        "redis.flush_ms": 20,
        "engine.features": "all",
        **(more or {}),
    }
    with (
        StreamUnderTest(bundle, settings, folder / "process") as stream,
        running(bundle, settings) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield LiveService(topics, settings, stream, channel)
        stream.stop()


def _method(channel: grpc.Channel, method: str, kind: str) -> tuple[Any, Any]:
    service, _, name = method.partition("/")
    module = _MODULES[service]
    answer = getattr(module, f"{name}Response")
    made = getattr(channel, kind)(
        f"/fraudengine.v1.{service}/{name}",
        request_serializer=lambda each: each if isinstance(each, bytes) else each.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return made, getattr(module, f"{name}Request")


def ask(channel: grpc.Channel, method: str, *, metadata: Metadata = (), **fields: Any) -> Any:
    """Call `SERVICE/METHOD` with these fields; return its answer."""
    call, request = _method(channel, method, "unary_unary")
    return call(request(**fields), timeout=TIMEOUT_SECONDS, metadata=metadata)


def refused(
    channel: grpc.Channel,
    method: str,
    request: Message | bytes | None = None,
    *,
    metadata: Metadata = (),
    **fields: Any,
) -> Any:
    """Call `SERVICE/METHOD`, which must be refused; return the error."""
    call, kind = _method(channel, method, "unary_unary")
    told = kind(**fields) if request is None else request
    try:
        answer = call(told, timeout=TIMEOUT_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"{method} was answered: {answer}")


def watch(channel: grpc.Channel, method: str, **fields: Any) -> Any:
    """Begin to read a stream; return it when nothing is missed any more."""
    call, request = _method(channel, method, "unary_stream")
    answers = call(request(**fields), timeout=60)
    answers.initial_metadata()
    return answers


def invalid_field(error: grpc.RpcError) -> tuple[str, str]:
    """Return the field at fault and the reason of a refusal for a bad request; the field may be empty."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    told = details(error)
    violations = BadRequest.FromString(told["BadRequest"]).field_violations if "BadRequest" in told else []
    return "".join(each.field for each in violations), ErrorInfo.FromString(told["ErrorInfo"]).reason
