"""The scoring service over real ports: what it decides, what it refuses, and that it goes on."""

from __future__ import annotations

import hashlib
import re
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scoring_server import PATH, TIMEOUT_SECONDS, at, call, details, held_open, running
from small_bundle import scoring_bundle
from small_history import small_history
from wire_messages import transaction_bytes

from fraudengine.bundle import Bundle
from fraudengine.config import load
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.errors import ConfigError
from fraudengine.serving import ScoringServer
from fraudengine.serving.server import engine_of
from fraudengine.wire.decision_pb2 import Decision
from fraudengine.wire.scoring_pb2 import (
    ScoreBatchRequest,
    ScoreBatchResponse,
    ScoreRequest,
    ScoreResponse,
    ScoreStreamRequest,
    ScoreStreamResponse,
)
from fraudengine.wire.transaction_pb2 import Transaction


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[ScoringServer]:
    with running(bundle, {"serve.reflection": True}) as started:
        yield started


@pytest.fixture
def channel(server: ScoringServer, transport: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(at(server, transport)) as made:
        yield made


def transaction(name: str, **fields: Any) -> Transaction:
    now = int(time.time() * 1e6)
    told = {"event_time_micros": now, "customer_id": f"c-{name}", "amount_minor": 1_000, **fields}
    return Transaction(transaction_id=name, **told)


def score(channel: grpc.Channel, asked: Transaction, token: str | None = None) -> Decision:
    request = ScoreRequest(transaction=asked).SerializeToString()
    decision: Decision = ScoreResponse.FromString(call(channel, "Score", request, token)).decision
    return decision


def refused(channel: grpc.Channel, method: str, request: bytes, token: str | None = None) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, token)
    return caught.value


def test_the_service_decides_as_the_engine_does(bundle: Path, transport: str) -> None:
    history = small_history(labels=False).head(3_000)
    expected = Bundle.load(bundle).engine().process(history)
    messages = [Transaction.FromString(each) for _, each in transaction_bytes(history)]
    with running(bundle) as server, grpc.insecure_channel(at(server, transport)) as channel:
        one_by_one = [score(channel, each) for each in messages[:500]]
        batch = ScoreBatchRequest(transactions=messages[500:]).SerializeToString()
        rest = ScoreBatchResponse.FromString(call(channel, "ScoreBatch", batch)).results
    decisions = [*one_by_one, *(each.decision for each in rest)]
    assert [each.score for each in decisions] == expected.score.tolist()
    assert [each.action - 1 for each in decisions] == expected.action.tolist()
    reasons = [row for row, each in enumerate(decisions) for _ in each.reasons]
    assert reasons == expected.reasons.row.tolist()
    assert {each.model for each in decisions} == {int(Bundle.load(bundle).hash[:16], 16)}


def test_an_id_that_comes_again_gets_its_first_answer(channel: grpc.Channel, transport: str) -> None:
    first = score(channel, transaction(f"again-{transport}"))
    again = score(channel, transaction(f"again-{transport}", amount_minor=99))
    assert (first.repeated_id, again.repeated_id) == (False, True)
    again.ClearField("repeated_id")
    assert again == first


def test_calls_at_once_are_all_answered(channel: grpc.Channel) -> None:
    names = [f"at-once-{number}" for number in range(300)]
    with ThreadPoolExecutor(32) as pool:
        decided = list(pool.map(lambda name: score(channel, transaction(name)), names))
    assert [each.transaction_id for each in decided] == names


def test_a_batch_refuses_rows_by_themselves_and_too_many_as_a_whole(channel: grpc.Channel) -> None:
    rows = [transaction("in-batch"), transaction("bad", amount_minor=-1), transaction("after")]
    answer = call(channel, "ScoreBatch", ScoreBatchRequest(transactions=rows).SerializeToString())
    results = ScoreBatchResponse.FromString(answer).results
    assert [each.WhichOneof("outcome") for each in results] == ["decision", "refusal", "decision"]
    assert (results[1].refusal.field, results[1].refusal.code) == ("amount_minor", "amount_negative")
    for count in (0, 4_097):
        many = ScoreBatchRequest(transactions=[Transaction()] * count).SerializeToString()
        error = refused(channel, "ScoreBatch", many)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"{count} entries" in str(error.details())


def test_a_stream_is_answered_in_its_order(channel: grpc.Channel) -> None:
    asked = [transaction(f"s{n}", amount_minor=-1 if n == 3 else n) for n in range(6)]
    requests = (ScoreStreamRequest(transaction=each).SerializeToString() for each in asked)
    answers = channel.stream_stream(PATH + "ScoreStream")(requests, timeout=TIMEOUT_SECONDS)
    results = [ScoreStreamResponse.FromString(each).result for each in answers]
    assert [each.decision.transaction_id or each.refusal.code for each in results] == [
        *("s0", "s1", "s2", "amount_negative", "s4", "s5")
    ]


def test_a_long_stream_is_decided_as_the_engine_does(bundle: Path, transport: str) -> None:
    history = small_history(labels=False).head(1_500)
    expected = Bundle.load(bundle).engine().process(history)
    messages = [Transaction.FromString(each) for _, each in transaction_bytes(history)]
    with running(bundle) as server, grpc.insecure_channel(at(server, transport)) as channel:
        requests = (ScoreStreamRequest(transaction=each).SerializeToString() for each in messages)
        answers = channel.stream_stream(PATH + "ScoreStream")(requests, timeout=TIMEOUT_SECONDS)
        decisions = [ScoreStreamResponse.FromString(each).result.decision for each in answers]
    assert [each.transaction_id for each in decisions] == history["transaction_id"].to_list()
    assert [each.score for each in decisions] == expected.score.tolist()


def test_a_stream_whose_caller_goes_frees_its_place(bundle: Path, transport: str) -> None:
    with (
        running(bundle, {"serve.calls_max": 1}) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        first = ScoreStreamRequest(transaction=transaction("goes")).SerializeToString()
        with held_open(first) as requests:
            answers = channel.stream_stream(PATH + "ScoreStream")(requests, timeout=TIMEOUT_SECONDS)
            next(answers)
            answers.cancel()
            # The service hears of it when it does; until then there is no room.
            until = time.monotonic() + TIMEOUT_SECONDS
            while not _answers(channel):
                assert time.monotonic() < until


def _answers(channel: grpc.Channel) -> bool:
    try:
        score(channel, transaction("after-it"))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
    return True


def test_health_and_metrics(server: ScoringServer, channel: grpc.Channel, transport: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service="fraudengine.v1.ScoringService")
    assert health.Check(asked, timeout=TIMEOUT_SECONDS).status == health_pb2.HealthCheckResponse.SERVING
    score(channel, transaction("counted"))
    name = "fraudengine_grpc_native_call" if transport == "native" else "fraudengine_grpc_call"
    with urllib.request.urlopen(server.metrics_address, timeout=TIMEOUT_SECONDS) as page:
        found = re.search(rf'(?m)^{name}_seconds_count\{{method="Score"\}} (\S+)$', page.read().decode())
    assert found is not None
    assert float(found[1]) > 0


def test_tokens_and_rates(bundle: Path, tmp_path: Path, transport: str) -> None:
    file = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"open sesame").hexdigest()
    file.write_text(f'[shop]\nsha256 = "{digest}"\ncalls_per_second = 0.01\n')
    request = ScoreRequest(transaction=transaction("t")).SerializeToString()
    settings = {"serve.tokens": str(file)}
    with running(bundle, settings) as server, grpc.insecure_channel(at(server, transport)) as channel:
        for token in (None, "open"):
            assert refused(channel, "Score", request, token).code() is grpc.StatusCode.UNAUTHENTICATED
        assert score(channel, transaction("u"), "open sesame").transaction_id == "u"
        error = refused(channel, "Score", request, "open sesame")
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 0 < RetryInfo.FromString(details(error)["RetryInfo"]).retry_delay.seconds <= 100


def test_tls_with_client_certificates(bundle: Path, tmp_path: Path, transport: str) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_ca")}
    files["certificate"].write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    files["key"].write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files["client_ca"])
    settings = {f"serve.tls_{name}": str(path) for name, path in files.items()}
    root, chain = files["client_ca"].read_bytes(), files["certificate"].read_bytes()
    with running(bundle, settings) as server:
        known = grpc.ssl_channel_credentials(root, files["key"].read_bytes(), chain)
        with grpc.secure_channel(at(server, transport), known) as channel:
            assert score(channel, transaction("tls")).transaction_id == "tls"
        for stranger in (
            grpc.secure_channel(at(server, transport), grpc.ssl_channel_credentials(root)),
            None,
        ):
            with stranger or grpc.insecure_channel(at(server, transport)) as channel:
                error = refused(channel, "Score", b"")
                assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_plain_text_stays_on_loopback(bundle: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"serve\.host is 0\.0\.0\.0, not a loopback"),
        running(bundle, {"serve.host": "0.0.0.0"}),
    ):
        pass


def test_too_many_calls_are_turned_away_at_once(bundle: Path, transport: str) -> None:
    with (
        running(bundle, {"serve.calls_max": 1}) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        waiting = channel.stream_stream(PATH + "ScoreStream")
        first = ScoreStreamRequest(transaction=transaction("holds")).SerializeToString()
        with held_open(first) as requests:
            answers = waiting(requests, timeout=TIMEOUT_SECONDS)
            assert ScoreStreamResponse.FromString(next(answers)).result.decision.transaction_id == "holds"
            error = refused(channel, "Score", b"")
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert ErrorInfo.FromString(details(error)["ErrorInfo"]).reason == "OVERLOADED"
            assert RetryInfo.FromString(details(error)["RetryInfo"]).retry_delay.nanos > 0
        assert list(answers) == []


def test_both_transports_have_one_state_and_one_rate(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"open sesame").hexdigest()
    file.write_text(f'[shop]\nsha256 = "{digest}"\ncalls_per_second = 2\n')
    with (
        running(bundle, {"serve.tokens": str(file)}) as server,
        grpc.insecure_channel(at(server, "grpcio")) as channel,
        grpc.insecure_channel(at(server, "native")) as native,
    ):
        first = score(channel, transaction("shared"), "open sesame")
        again = score(native, transaction("shared", amount_minor=99), "open sesame")
        error = refused(native, "Score", b"", "open sesame")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert again.repeated_id
    again.ClearField("repeated_id")
    assert again == first


def test_the_service_keeps_to_the_bound_on_memory(bundle: Path) -> None:
    least = 128 << 20
    engine = engine_of(load(flags={"engine.memory_max_bytes": least}), Bundle.load(bundle))
    engine.process(generate(SyntheticConfig(customers=200_000, merchants=5_000, days=2)))
    tables = engine.stats()["tables"].values()
    assert sum(table["bytes"] for table in tables) <= least
    assert sum(table["evicted"] for table in tables) > 1_000
