"""What must not be decided: broken rules of schema and wire, late calls, wrong doors; the service goes on."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.descriptor import FieldDescriptor
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from scoring_server import PATH, TIMEOUT_SECONDS, at, call, details, held_open, running, stalled
from small_bundle import scoring_bundle

from fraudengine import _native
from fraudengine.bundle import Bundle
from fraudengine.serving import ScoringServer
from fraudengine.serving.admission import Admission
from fraudengine.serving.metrics import Metrics
from fraudengine.serving.scoring import OwnScoringService
from fraudengine.wire.scoring_pb2 import (
    ScoreBatchRequest,
    ScoreBatchResponse,
    ScoreRequest,
    ScoreResponse,
    ScoreStreamResponse,
)
from fraudengine.wire.transaction_pb2 import Transaction

ROOT = Path(__file__).resolve().parents[2]
CARD = "4111111111111111"
FIELDS = Transaction.DESCRIPTOR.fields
TEXTS = [field.name for field in FIELDS if field.type == FieldDescriptor.TYPE_STRING]
WIDE = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_DOUBLE)
WIDE_NUMBERS = [field.name for field in FIELDS if field.type in WIDE]
IDS = [name for name in TEXTS if name not in ("currency", "country")]
PLACE = ("latitude", "longitude")
REQUIRED = ("transaction_id", "event_time_micros", "customer_id", "amount_minor")


def codes_in(source: str) -> set[str]:
    """Return the stable codes that a Rust source gives to its rules."""
    text = (ROOT / source).read_text("utf-8")
    return set(re.findall(r'=> "([a-z0-9_]+)"', text[text.index("fn code(") :]))


# What no request can break: labels only, JSON only, framing of Kafka records only.
ELSEWHERE = {
    *("known_before_event", "not_verdict", "verdict_missing", "framing_version", "framing_broken"),
    *("syntax", "not_an_object", "trailing", "escape", "duplicate_field"),
    *("not_text", "not_integer", "not_number", "not_time"),
}
RULES = (
    codes_in("native/core/src/event/violation.rs") | codes_in("native/runtime/src/payload/malformed.rs")
) - ELSEWHERE


def good(**fields: Any) -> Transaction:
    """Return a transaction that is accepted, but for the fields given; `None` clears one."""
    made = Transaction(transaction_id="t", customer_id="c", amount_minor=1_000)
    made.event_time_micros = int(time.time() * 1e6)
    for name, value in fields.items():
        if value is None:
            made.ClearField(name)
        else:
            setattr(made, name, value)
    return made


def request(transaction: bytes) -> bytes:
    """Return a `ScoreRequest` whose transaction has exactly these bytes."""
    key, length = b"\x0a", b""
    rest = len(transaction)
    while rest > 0x7F:
        length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
    return key + length + bytes([rest]) + transaction


def of(**fields: Any) -> bytes:
    return request(good(**fields).SerializeToString())


def number_of(name: str) -> int:
    return int(Transaction.DESCRIPTOR.fields_by_name[name].number)


CASES: list[tuple[str, bytes, str, str]] = [
    *((f"no {name}", of(**{name: None}), name, "missing") for name in REQUIRED),
    *((f"empty {name}", of(**{name: ""}), name, "empty") for name in IDS if name not in REQUIRED),
    *((f"10 KB of {name}", of(**{name: "x" * 10_240}), name, "too_long") for name in IDS),
    *((f"line end in {name}", of(**{name: "a\nb"}), name, "control_character") for name in IDS),
    *((f"card number as {name}", of(**{name: CARD}), name, "card_number") for name in TEXTS),
    *(
        (f"{name} not UTF-8", request(bytes([number_of(name) << 3 | 2, 2, 0xC3, 0x28])), name, "not_utf8")
        for name in TEXTS
    ),
    # A group's start where no field has one.
    *(
        (
            f"{field.name} as fixed32",
            request(bytes([field.number << 3 | 5, 0, 0, 0, 0])),
            field.name,
            "wire_type",
        )
        for field in FIELDS
    ),
    ("before 2000", of(event_time_micros=1), "event_time_micros", "time_out_of_range"),
    ("after 2100", of(event_time_micros=2**62), "event_time_micros", "time_out_of_range"),
    ("ahead of the clock", of(event_time_micros=4_000_000_000_000_000), "event_time_micros", "time_ahead"),
    ("negative", of(amount_minor=-1), "amount_minor", "amount_negative"),
    ("too much", of(amount_minor=10**11 + 1), "amount_minor", "amount_too_large"),
    ("no rate", of(currency="USD"), "currency", "currency_without_rate"),
    ("no code", of(currency="euro"), "currency", "currency_malformed"),
    ("channel 77", of(channel=77), "channel", "channel_unknown"),
    ("channel -1", of(channel=-1), "channel", "channel_unknown"),
    ("category", of(merchant_category=10_000), "merchant_category", "category_out_of_range"),
    ("country", of(country="Germany"), "country", "country_malformed"),
    ("latitude", of(latitude=90.5, longitude=0.0), "latitude", "coordinate_out_of_range"),
    ("longitude", of(latitude=0.0, longitude=float("nan")), "longitude", "coordinate_out_of_range"),
    ("half a place", of(latitude=1.0), "longitude", "coordinate_missing"),
    ("over 64 KiB", of(device_id="d" * 65_536), "", "too_large"),
    ("cut off", of()[:-2], "", "truncated"),
    ("long varint", request(b"\x10" + b"\xff" * 10), "event_time_micros", "varint_too_long"),
    ("field 0", request(b"\x02\x00"), "", "field_key"),
    ("end of no group", request(b"\xfc\x07"), "", "group_end"),
    ("groups in groups", request(b"\xfb\x07" * 1_000), "", "too_deep"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[ScoringServer]:
    with running(bundle) as started:
        yield started


@pytest.fixture
def channel(server: ScoringServer, transport: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(at(server, transport)) as made:
        yield made
        # Whatever it was sent, it goes on.
        name = f"after-{time.monotonic_ns()}"
        answer = call(made, "Score", of(transaction_id=name, customer_id=name))
        assert not ScoreResponse.FromString(answer).decision.repeated_id


def refused(channel: grpc.Channel, method: str, request: bytes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request)
    return caught.value


def test_every_rule_has_a_case() -> None:
    assert {code for *_, code in CASES} - {"time_ahead"} == RULES


@pytest.mark.parametrize(
    ("asked", "field", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_broken_rule_is_named_with_its_field(
    asked: bytes, field: str, code: str, channel: grpc.Channel, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refused(channel, "Score", asked)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = details(error)
    assert ErrorInfo.FromString(told["ErrorInfo"]).reason == code.upper()
    named = BadRequest.FromString(told["BadRequest"]).field_violations if "BadRequest" in told else []
    assert [each.field for each in named] == ([field] if field else [])
    shown = capfd.readouterr()
    # More digits than a port has, which grpcio shows too.
    assert CARD[:6] not in f"{error.details()}{told}{shown.out}{shown.err}"


@pytest.mark.parametrize("name", [*TEXTS, *WIDE_NUMBERS])
@pytest.mark.parametrize("method", ["Score", "ScoreBatch", "ScoreStream"])
def test_a_card_number_is_accepted_in_no_field_and_never_shown(
    name: str, method: str, channel: grpc.Channel, capfd: pytest.CaptureFixture[str]
) -> None:
    value: Any = CARD if name in TEXTS else float(CARD) if name in PLACE else int(CARD)
    asked = good(**{**dict.fromkeys(PLACE if name in PLACE else (), 0.0), name: value})
    if method == "Score":
        error = refused(channel, method, ScoreRequest(transaction=asked).SerializeToString())
        shown = f"{error.code()}{error.details()}{details(error)}"
    elif method == "ScoreBatch":
        answer = call(channel, method, ScoreBatchRequest(transactions=[asked]).SerializeToString())
        shown = str(ScoreBatchResponse.FromString(answer).results[0].refusal)
    else:
        requests = iter([ScoreRequest(transaction=asked).SerializeToString()])
        answers = channel.stream_stream(PATH + method)(requests, timeout=TIMEOUT_SECONDS)
        shown = str(ScoreStreamResponse.FromString(next(iter(answers))).result.refusal)
    assert name in shown
    written = capfd.readouterr()
    # More digits than a port has, which grpcio shows too.
    assert CARD[:6] not in f"{shown}{written.out}{written.err}"


def test_a_card_number_inside_a_text_is_not_shown(channel: grpc.Channel) -> None:
    for name in ("country", "currency"):
        error = refused(channel, "Score", of(**{name: f"x{CARD}"}))
        assert CARD[:6] not in f"{error.details()}{details(error)}"


def test_a_request_beyond_the_limit_of_a_message(channel: grpc.Channel, transport: str) -> None:
    error = refused(channel, "ScoreBatch", bytes(4_194_305))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    said = {"grpcio": "larger than max", "native": "length too large: found 4194305 bytes"}
    assert said[transport] in str(error.details())


# The native transport decides a call when it has come: none waits.
@pytest.mark.parametrize("transport", ["grpcio"])
def test_a_call_whose_deadline_has_passed_is_not_decided(
    server: ScoringServer, channel: grpc.Channel
) -> None:
    asked = {"Score": of(transaction_id="late", customer_id="late")}
    batch = ScoreBatchRequest(transactions=[good(transaction_id="late-batch", customer_id="late-batch")])
    asked["ScoreBatch"] = batch.SerializeToString()
    grpc.channel_ready_future(channel).result(TIMEOUT_SECONDS)
    with stalled(server):
        calls = [channel.unary_unary(PATH + name).future(body, timeout=0.2) for name, body in asked.items()]
        assert {each.code() for each in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    decisions = [
        ScoreResponse.FromString(call(channel, "Score", asked["Score"])).decision,
        ScoreBatchResponse.FromString(call(channel, "ScoreBatch", asked["ScoreBatch"])).results[0].decision,
    ]
    assert [each.repeated_id for each in decisions] == [False, False]


class _Call:
    """As much of the context of a call as the service asks for before it decides."""

    def __init__(self, seconds_left: float | None) -> None:
        self._seconds_left = seconds_left

    def time_remaining(self) -> float | None:
        """Return the seconds to the deadline, or `None` without one."""
        return self._seconds_left


def test_what_is_cancelled_or_too_late_when_its_turn_comes_is_not_decided(bundle: Path) -> None:
    engine, metrics = Bundle.load(bundle).engine(), Metrics()
    scoring = _native.Scoring(
        engine._native, bundle_hash="0" * 64, answers_kept=9, ahead_micros_max=1_000_000
    )
    service = OwnScoringService(scoring, Admission(9, 9, metrics), metrics, engine)

    async def ask() -> list[str]:
        lefts = {"cancelled": 5.0, "late": 0.0, "in-time": 5.0, "without-deadline": None}
        # Each has its place in the queue, and none has had its turn.
        waiting = [
            service._decided(of(transaction_id=name, customer_id=name), _Call(left))
            for name, left in lefts.items()
        ]
        waiting[0].cancel()
        refused = await service._single(of(transaction_id="single"), _Call(0.0))
        assert refused[1] == (await waiting[1])[1] == "deadline_passed"
        answers = [ScoreResponse.FromString(await each).decision for each in waiting[2:]]
        return [each.transaction_id for each in answers]

    assert asyncio.run(ask()) == ["in-time", "without-deadline"]
    assert engine.stats()["transactions"] == 2
    service.close()


def test_unknown_methods_and_services(channel: grpc.Channel) -> None:
    for path in (f"{PATH}Guess", "/fraudengine.v1.NoService/Score", "/a"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"", timeout=TIMEOUT_SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(64), b"\x16\x03\x01\x00\xa5" + bytes(200)]
)
def test_what_does_not_speak_http_2_is_hung_up_on(
    said: bytes, server: ScoringServer, channel: grpc.Channel, transport: str
) -> None:
    host, port = at(server, transport).rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as door:
        door.sendall(said)
        answer = b"".join(iter(lambda: _received(door), b""))
    assert b"grpc-status" not in answer


def _received(door: socket.socket) -> bytes:
    try:
        return door.recv(4_096)
    except ConnectionError:
        return b""


def test_tls_to_a_plain_port_and_plain_text_to_a_tls_port(
    bundle: Path, tmp_path: Path, transport: str
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    secure = {"serve.tls_certificate": str(chain), "serve.tls_key": str(key)}
    with running(bundle) as plain, running(bundle, secure) as tls:
        wrong = (
            grpc.secure_channel(at(plain, transport), trusted),
            grpc.insecure_channel(at(tls, transport)),
        )
        for made in wrong:
            with made as channel:
                assert refused(channel, "Score", of()).code() is grpc.StatusCode.UNAVAILABLE
        right = (
            grpc.insecure_channel(at(plain, transport)),
            grpc.secure_channel(at(tls, transport), trusted),
        )
        for made in right:
            with made as channel:
                assert ScoreResponse.FromString(call(channel, "Score", of())).decision.transaction_id == "t"


# hyper has no bound on pings.
@pytest.mark.parametrize("transport", ["grpcio"])
def test_a_client_that_pings_all_the_time_is_hung_up_on(server: ScoringServer, channel: grpc.Channel) -> None:
    del channel
    often = [
        ("grpc.keepalive_time_ms", 20),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(server.address, options=often) as pinging:
        with held_open() as requests, pytest.raises(grpc.RpcError) as caught:
            next(iter(pinging.stream_stream(PATH + "ScoreStream")(requests, timeout=TIMEOUT_SECONDS)))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "ping" in str(caught.value.details()).lower()
