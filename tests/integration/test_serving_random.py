"""Random bytes and spoilt messages to every method of every service: refused, no crash, no memory kept.

The methods are asked of the server by reflection, so a new service is covered without a change here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from scoring_server import TIMEOUT_SECONDS, at, running
from small_bundle import scoring_bundle

from fraudengine.serving import ScoringServer

CALLS = 120
"""Of each kind to each method."""

ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    # No store and no broker runs here.
    grpc.StatusCode.UNAVAILABLE,
    # We end a stream that answers and does not end by itself.
    grpc.StatusCode.CANCELLED,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServer]:
    bundle = scoring_bundle(tmp_path_factory.mktemp("bundle"))
    settings = {
        "serve.inference": True,
        "serve.reflection": True,
        "embedded.folder": tmp_path_factory.mktemp("services"),
    }
    with running(bundle, settings) as started:
        yield started


def methods_of(channel: grpc.Channel) -> list[MethodDescriptor]:
    """Return every method that the server tells of."""
    told = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(told)
    services = [pool.FindServiceByName(name) for name in sorted(told.get_services())]
    return [method for service in services for method in service.methods]


def sent(channel: grpc.Channel, method: MethodDescriptor, messages: list[bytes]) -> grpc.StatusCode:
    """Send messages to a method, read at most as many answers, and return how it ended."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds: dict[tuple[bool, bool], Callable[[str], Any]] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    call = kinds[method.client_streaming, method.server_streaming](path)
    asked: Any = iter(messages) if method.client_streaming else messages[0]
    if not method.server_streaming:
        answer = call.future(asked, timeout=TIMEOUT_SECONDS)
        answer.exception()
        code: grpc.StatusCode = answer.code()
        return code
    answers = call(asked, timeout=TIMEOUT_SECONDS)
    try:
        for _ in messages:
            next(answers)
    except StopIteration:
        pass
    except grpc.RpcError as error:
        return error.code()
    answers.cancel()
    return grpc.StatusCode.OK


def filled(kind: Any, draw: random.Random, depth: int = 3) -> Any:
    """Return a message of the kind with a random value in most of its fields."""
    made = GetMessageClass(kind)()
    values: dict[int, Callable[[], Any]] = {
        FieldDescriptor.CPPTYPE_BOOL: lambda: draw.random() < 0.5,
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: draw.choice([0.0, 1.5, float("nan"), -1e300]),
        FieldDescriptor.CPPTYPE_FLOAT: lambda: draw.choice([0.0, 1.5, float("inf")]),
        FieldDescriptor.CPPTYPE_INT32: lambda: draw.choice([0, 1, -1, 5_411, 2**31 - 1]),
        FieldDescriptor.CPPTYPE_ENUM: lambda: draw.choice([0, 1, 2, 99]),
        FieldDescriptor.CPPTYPE_INT64: lambda: draw.choice([0, 1, -1, 1_735_689_600_000_000, 2**63 - 1]),
        FieldDescriptor.CPPTYPE_UINT32: lambda: draw.choice([0, 1, 2**32 - 1]),
        FieldDescriptor.CPPTYPE_UINT64: lambda: draw.choice([0, 1, 2**64 - 1]),
    }
    for field in kind.fields:
        if draw.random() < 0.2:
            continue
        entry = field.message_type
        if entry is not None:
            if depth and not entry.GetOptions().map_entry:
                place = getattr(made, field.name)
                parts = [filled(entry, draw, depth - 1) for _ in range(draw.randrange(3))]
                place.extend(parts) if field.is_repeated else [place.MergeFrom(part) for part in parts]
            continue
        if field.type == FieldDescriptor.TYPE_BYTES:
            value: Any = draw.randbytes(draw.randrange(9))
        elif field.type == FieldDescriptor.TYPE_STRING:
            value = draw.choice(["", "fraudengine", "a", "4111111111111111", "x" * 300, "EUR", "DE", "\n"])
        else:
            value = values[field.cpp_type]()
        if field.is_repeated:
            getattr(made, field.name).append(value)
        else:
            setattr(made, field.name, value)
    return made


def spoilt(message: bytes, draw: random.Random) -> bytes:
    """Return a message with some bytes changed, left out, doubled or cut off."""
    made = bytearray(message)
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(4):
            case 0:
                made[at:at] = draw.randbytes(1)
            case 1:
                del made[at : at + draw.randrange(1, 4)]
            case 2:
                made[at:at] = made[at : at + 16]
            case _:
                made[at : at + 1] = draw.choice([b"\x00", b"\x7f", b"\x80", b"\xff"])
    return bytes(made)


def attack(channel: grpc.Channel, methods: list[MethodDescriptor], draw: random.Random) -> None:
    for method in methods:
        for _ in range(CALLS):
            count = draw.randrange(1, 4) if method.client_streaming else 1
            noise = [draw.randbytes(draw.randrange(200)) for _ in range(count)]
            near = [spoilt(filled(method.input_type, draw).SerializeToString(), draw) for _ in range(count)]
            for messages in (noise, near):
                code = sent(channel, method, messages)
                assert code in ALLOWED, (method.full_name, code, messages)


def resident_bytes() -> int:
    """Return the memory of this process, in which the server runs too."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4_096


def test_no_bytes_harm_the_server_or_stay_in_its_memory(server: ScoringServer, transport: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        methods = methods_of(channel)
        assert {"Score", "ScoreBatch", "ScoreStream", "ModelInfer", "Check"} <= {
            each.name for each in methods
        }
    if transport == "native":
        own = ("fraudengine.v1.ScoringService", "grpc.health.v1.Health")
        methods = [each for each in methods if each.containing_service.full_name in own]
    draw = random.Random(7)
    with grpc.insecure_channel(at(server, transport)) as channel:
        attack(channel, methods, draw)
        before = resident_bytes()
        for _ in range(2):
            attack(channel, methods, draw)
        assert resident_bytes() - before < 32 << 20
