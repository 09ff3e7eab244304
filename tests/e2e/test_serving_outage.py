"""The scoring service in front of the stream while the broker is away: marked answers, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from scoring_process import scoring_process
from service_stack import Fresh, embedded_settings
from stream_process import eventually
from stream_topics import Topics, new_topics

import outages
from fraudengine import services
from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction


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
