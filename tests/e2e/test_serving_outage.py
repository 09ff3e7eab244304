"""The scoring service in front of the stream while others stall or are away: answers in time, all marked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from late_calls import Calls, compared, send_with_stalls
from scoring_process import scoring_process
from service_stack import Fresh, embedded_settings
from stream_process import eventually
from stream_topics import Topics, new_topics

import outages
from fraudengine import services
from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction

RATE = 200.0
SECONDS = 13.0
DEADLINE_SECONDS = 0.1


@pytest.fixture(scope="module")
def own_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Fresh]]:
    """Yield services that only these tests use, and names on them."""
    with outages.own_services() as own:
        yield own


def options(topics: Topics) -> list[str]:
    """Return the settings of a service over these topics."""
    settings = topics.settings(serve__mode="stream", serve__warm_transactions=0)
    return [f"{name}={value}" for name, value in settings.items()]


def test_a_broker_that_is_away_gets_what_was_asked_meanwhile(
    own_services: tuple[Path, Fresh], bundle: Path, tmp_path: Path
) -> None:
    folder, fresh = own_services
    topics = new_topics(fresh, tmp_path)
    with (
        topics.stream(bundle) as stream,
        scoring_process(bundle, *options(topics)) as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        stream.await_status(lambda told: told["phase"] == "running", 60, "a running stream")
        score = channel.unary_unary("/fraudengine.v1.ScoringService/Score")

        def asked(name: str) -> list[int]:
            transaction = Transaction(
                transaction_id=name,
                event_time_micros=time.time_ns() // 1_000,
                customer_id="c",
                amount_minor=100,
            )
            request = ScoreRequest(transaction=transaction).SerializeToString()
            return list(ScoreResponse.FromString(score(request, timeout=1)).decision.degraded_reasons)

        eventually(lambda: asked(f"before-{time.monotonic_ns()}") == [], 30, "decisions of the stream")
        assert services.down(folder, only=["kafka"]) == ["kafka"]
        assert [asked(f"during-{number}") for number in range(50)] == [[4]] * 50
        services.up(embedded_settings(folder), only=["kafka"])
        eventually(lambda: asked("during-49") == [], 90, "a decision on what was asked meanwhile")
        eventually(lambda: asked(f"after-{time.monotonic_ns()}") == [], 60, "decisions of the stream")
    ids = [record.transaction.transaction_id for _, record in topics.decisions()]
    assert sorted(each for each in ids if each.startswith("during")) == sorted(
        f"during-{number}" for number in range(50)
    )


def test_calls_are_answered_in_time_while_services_stall(
    own_services: tuple[Path, Fresh], bundle: Path, tmp_path: Path
) -> None:
    folder, fresh = own_services
    topics = new_topics(fresh, tmp_path)
    databases = {
        "postgres__enabled": True,
        "postgres__url": fresh.postgres(),
        "redis__enabled": True,
        "redis__url": fresh.redis(),
    }
    with (
        topics.stream(bundle, **databases) as stream,
        scoring_process(bundle, *options(topics)) as service,
        topics.follow() as log,
    ):
        stream.await_status(lambda told: told["phase"] == "running", 60, "a running stream")
        warm = Calls(service.address, 10.0)
        asyncio.run(warm.send(RATE, 8.0, "warm"))
        sent = warm.sent
        for kind in ("kafka", "postgres", "redis"):
            calls = Calls(service.address, DEADLINE_SECONDS)
            assert asyncio.run(send_with_stalls(calls, folder, kind, RATE, SECONDS)) >= 3
            sent += calls.sent
            log.await_count(sent, 60)
            told = compared((record.SerializeToString() for _, record in log.valid), calls.answers)
            assert told["different and not marked"] == 0, (kind, told)
            assert told["published"] == told["answers"], (kind, told)
            assert told["marked"] > 0 or kind != "kafka", told
            assert calls.in_time() >= 0.9995, (kind, calls.in_time(), calls.failed, max(calls.millis))
        ids = [record.transaction.transaction_id for _, record in log.valid]
        assert len(ids) == len(set(ids)) == sent, "each was decided once"
