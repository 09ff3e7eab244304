"""The scoring service in front of a real stream: its decisions come back, and late ones are marked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scoring_server import PATH, at, call, details, running
from service_stack import Fresh
from small_bundle import small_bundle
from small_history import small_history
from stream_process import StreamUnderTest, eventually
from stream_topics import Topics, new_topics

from fraudengine.serving import ScoringServer
from fraudengine.serving.through_stream import StreamScoringService
from fraudengine.training import BoosterOptions, ForestOptions
from fraudengine.wire.decision_pb2 import (
    ACTION_APPROVE,
    ACTION_BLOCK,
    ACTION_REVIEW,
    DEGRADED_REASON_COLD_STATE,
    DEGRADED_REASON_MODEL_MISSING,
    DEGRADED_REASON_NO_ANSWER,
    DEGRADED_REASON_STALE_STATE,
    Decision,
)
from fraudengine.wire.scoring_pb2 import (
    ScoreBatchRequest,
    ScoreBatchResponse,
    ScoreRequest,
    ScoreResponse,
    ScoreStreamRequest,
    ScoreStreamResponse,
)
from fraudengine.wire.transaction_pb2 import Transaction

# Longer than a busy machine needs, so that only what is meant to be late is late.
PATIENT = {"serve__behind_ms_max": 20_000}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), tmp_path_factory.mktemp("bundle") / "model", booster, forest)


@pytest.fixture
def topics(fresh: Fresh, tmp_path: Path) -> Topics:
    return new_topics(fresh, tmp_path)


@pytest.fixture
def stream(bundle: Path, topics: Topics) -> Iterator[StreamUnderTest]:
    with topics.stream(bundle) as process:
        process.await_status(lambda told: told["phase"] == "running", 60, "a running stream")
        yield process


def served(topics: Topics, **more: object) -> dict[str, object]:
    return topics.settings(serve__mode="stream", **more)


def transaction(name: str, **fields: Any) -> Transaction:
    now = int(time.time() * 1e6)
    told = {"event_time_micros": now, "customer_id": f"c-{name}", "amount_minor": 1_000, **fields}
    return Transaction(transaction_id=name, **told)


def score(channel: grpc.Channel, asked: Transaction, timeout: float = 20) -> Decision:
    request = ScoreRequest(transaction=asked).SerializeToString()
    answer = channel.unary_unary(PATH + "Score")(request, timeout=timeout)
    decision: Decision = ScoreResponse.FromString(answer).decision
    return decision


def health(channel: grpc.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


def await_serving(channel: grpc.Channel) -> None:
    eventually(lambda: health(channel) == health_pb2.HealthCheckResponse.SERVING, 30, "a service that serves")


def status_of(server: ScoringServer) -> dict[str, Any]:
    """Return what a service in front of the stream says of itself."""
    assert isinstance(server._service, StreamScoringService)
    return server._service.status()


def assert_equal(decision: Decision, record: Any) -> None:
    """Compare an answer with the record that the stream published, bit for bit."""
    told = record.transaction
    assert (decision.transaction_id, decision.event_time_micros) == (
        told.transaction_id,
        told.event_time_micros,
    )
    for name in ("score", "action", "model", "decided_time_micros"):
        assert getattr(decision, name) == getattr(record, name), name
    assert list(decision.reasons) == list(record.reasons)
    codes = [code for bit, code in ((2, 1), (4, 2), (8, 3)) if record.flags & bit]
    assert list(decision.degraded_reasons) == codes
    assert decision.degraded == bool(codes)


@pytest.mark.usefixtures("stream")
def test_the_answer_is_the_decision_that_the_stream_published(
    bundle: Path, topics: Topics, transport: str
) -> None:
    now = int(time.time() * 1e6)
    asked = [
        transaction(
            f"t{number}",
            customer_id=f"c{number % 7}",
            card_id=f"k{number % 5}",
            merchant_id=f"m{number % 3}",
            amount_minor=1_000 + 40_000 * (number % 4),
            event_time_micros=now - (5 * 3_600_000_000 if number == 150 else 0),
        )
        for number in range(200)
    ]
    with (
        running(bundle, served(topics, **PATIENT)) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        await_serving(channel)
        one_by_one = [score(channel, each) for each in asked[:60]]
        batch = ScoreBatchRequest(transactions=asked[60:160]).SerializeToString()
        together = ScoreBatchResponse.FromString(call(channel, "ScoreBatch", batch)).results
        requests = [ScoreStreamRequest(transaction=each).SerializeToString() for each in asked[160:]]
        answers = channel.stream_stream(PATH + "ScoreStream")(iter(requests), timeout=30)
        streamed = [ScoreStreamResponse.FromString(each).result.decision for each in answers]
        status = status_of(server)
        assert (status["decided"], status["degraded"]) == (200, {})
        windows = server._service.customer_windows("c2")
        assert windows["customer_count_1h"] == sum(each.customer_id == "c2" for each in asked)
        assert not server._service.customer_windows("nobody")
    decisions = [*one_by_one, *(each.decision for each in together), *streamed]
    by_id = {record.transaction.transaction_id: record for _, record in topics.decisions()}
    assert len(by_id) == 200
    for request, decision in zip(asked, decisions, strict=True):
        record = by_id[request.transaction_id]
        assert record.transaction == request
        assert_equal(decision, record)
    assert {1} == {code for each in decisions for code in each.degraded_reasons}, "the late one says so"


@pytest.mark.usefixtures("stream")
def test_who_asks_at_once_or_again_gets_the_one_decision(
    bundle: Path, topics: Topics, transport: str
) -> None:
    asked = transaction("same")
    with (
        running(bundle, served(topics, **PATIENT)) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        await_serving(channel)
        with ThreadPoolExecutor(16) as pool:
            decisions = list(pool.map(lambda _: score(channel, asked), range(40)))
        later = score(channel, asked)
    # Another service does not know the id: the stream answers that it was decided before.
    with (
        running(bundle, served(topics, **PATIENT)) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        await_serving(channel)
        elsewhere = score(channel, asked)
    records = [record for _, record in topics.decisions()]
    assert [record.flags & 1 for record in records] == [0, 1]
    for again in (*decisions, later):
        again.ClearField("repeated_id")
        assert_equal(again, records[0])
    assert elsewhere.repeated_id
    assert (elsewhere.score, elsewhere.action) == (records[0].score, records[0].action)


def test_what_is_refused_goes_nowhere(bundle: Path, topics: Topics, transport: str) -> None:
    with running(bundle, served(topics)) as server, grpc.insecure_channel(at(server, transport)) as channel:
        request = ScoreRequest(transaction=transaction("x", amount_minor=-1)).SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "Score", request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        violation = BadRequest.FromString(details(caught.value)["BadRequest"]).field_violations[0]
        assert violation.field == "amount_minor"
        assert status_of(server)["unacknowledged"] == 0


def test_a_stalled_stream_is_not_waited_for_and_decides_afterwards(
    bundle: Path, topics: Topics, stream: StreamUnderTest, transport: str
) -> None:
    with running(bundle, served(topics)) as server, grpc.insecure_channel(at(server, transport)) as channel:
        await_serving(channel)
        for number in range(20):
            score(channel, transaction(f"before-{number}", customer_id="c"))
        stream.pause()
        answers, waits = [], []
        for number in range(30):
            since = time.monotonic()
            answers.append(score(channel, transaction(f"during-{number}", customer_id="c"), timeout=0.5))
            waits.append(time.monotonic() - since)
        status = status_of(server)
        assert status["degraded"]["stale_state"] >= 30
        # The first ones wait for as long as the stream may take; when it is behind, nobody waits.
        assert sorted(waits)[15] < 0.1, waits
        stream.resume()
        eventually(
            lambda: score(channel, answers_of(answers[0])).degraded is False, 30, "the stream's decision"
        )
        decided = [score(channel, answers_of(each)) for each in answers]
        after = score(channel, transaction("after", customer_id="c"), timeout=20)
    for each in answers:
        assert each.degraded
        assert list(each.degraded_reasons) == [DEGRADED_REASON_STALE_STATE]
        assert each.action != 0
        assert 0 <= each.score <= 1
    assert not after.repeated_id
    records = topics.decisions()
    during = [record for _, record in records if record.transaction.transaction_id.startswith("during")]
    assert [record.flags & 1 for record in during] == [0] * 30, "each was decided once"
    for again, record in zip(decided, during, strict=True):
        again.ClearField("repeated_id")
        assert_equal(again, record)


def answers_of(decision: Decision) -> Transaction:
    """Return the transaction of an answer, to be asked for again."""
    return transaction(decision.transaction_id, customer_id="c", event_time_micros=decision.event_time_micros)


def test_a_near_deadline_is_met(
    bundle: Path, topics: Topics, stream: StreamUnderTest, transport: str
) -> None:
    with (
        running(bundle, served(topics, **PATIENT)) as server,
        grpc.insecure_channel(at(server, transport)) as channel,
    ):
        await_serving(channel)
        stream.pause()
        since = time.monotonic()
        decision = score(channel, transaction("soon"), timeout=0.4)
        # It waits for the stream first; an answer after the deadline would have been an error.
        assert time.monotonic() - since > 0.2
        assert list(decision.degraded_reasons) == [DEGRADED_REASON_STALE_STATE]
        stream.resume()


def test_without_state_or_model_the_amount_decides(topics: Topics, bundle: Path, transport: str) -> None:
    rule = {"serve__no_answer_approve_below": 500, "serve__no_answer_block_from": 90_000}
    # Nobody listens there: no state can be read.
    nowhere = {**served(topics, **rule), "kafka.brokers": "127.0.0.1:1", "serve.drain_seconds": 0.5}
    amounts = {499: ACTION_APPROVE, 500: ACTION_REVIEW, 89_999: ACTION_REVIEW, 90_000: ACTION_BLOCK}
    for model, settings, missing in (
        (bundle, nowhere, DEGRADED_REASON_COLD_STATE),
        (None, served(topics, **rule), DEGRADED_REASON_MODEL_MISSING),
    ):
        with running(model, settings) as server, grpc.insecure_channel(at(server, transport)) as channel:
            if model is None:
                await_serving(channel)
            else:
                assert health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
            for amount, action in amounts.items():
                decision = score(channel, transaction(f"amount-{amount}", amount_minor=amount), timeout=5)
                assert decision.action == action
                assert decision.score != decision.score, "there is no score"
                assert list(decision.degraded_reasons) == [
                    DEGRADED_REASON_STALE_STATE,
                    missing,
                    DEGRADED_REASON_NO_ANSWER,
                ]


def test_json_topics_get_json(bundle: Path, topics: Topics) -> None:
    asked = transaction(
        'he said "no" \\ and left', latitude=-12.3456789, longitude=1e-7, merchant_category=5411, country="FR"
    )
    json = {"kafka__transactions_format": "json"}
    with (
        topics.stream(bundle, **json) as process,
        running(bundle, served(topics, **PATIENT, **json)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        process.await_status(lambda told: told["phase"] == "running", 60, "a running stream")
        await_serving(channel)
        decision = score(channel, asked)
    ((_, record),) = topics.decisions()
    assert record.transaction == asked
    assert_equal(decision, record)


def test_a_restarted_service_answers_from_the_log(
    bundle: Path, topics: Topics, stream: StreamUnderTest
) -> None:
    with (
        running(bundle, served(topics, **PATIENT)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        await_serving(channel)
        first = [score(channel, transaction(f"t{number}", customer_id="c")) for number in range(30)]
    stream.stop()
    with running(bundle, served(topics)) as server, grpc.insecure_channel(server.address) as channel:
        await_serving(channel)
        assert status_of(server)["position"] == 30
        # Of the replica, which remembers the ids: the stream is gone.
        again = score(channel, transaction("t29", customer_id="c"), timeout=5)
    assert again.repeated_id
    assert (again.score, again.action) == (first[29].score, first[29].action)
    assert list(again.degraded_reasons) == [DEGRADED_REASON_STALE_STATE]
