"""The topics of the stream on a real broker: created once, with their partitions and properties."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in its stub
from service_stack import Fresh

from fraudengine import services
from fraudengine.config import load
from fraudengine.errors import ServiceError
from fraudengine.services.topics import create_topics, topic_list

DEADLINE_SECONDS = 60.0


def test_topics_are_created_once_with_their_properties(fresh: Fresh) -> None:
    kafka = fresh.settings({"kafka.partitions": 3}).kafka
    wanted = [topic.topic for topic in topic_list(kafka)]
    assert sorted(create_topics(kafka)) == sorted(wanted)
    assert create_topics(kafka) == []
    client = topics_client(fresh.stack)
    found = client.list_topics(timeout=DEADLINE_SECONDS).topics
    assert [len(found[name].partitions) for name in wanted] == [3, 1, 1, 1, 1]
    assert described(client, kafka.transactions_topic, "message.timestamp.type") == "LogAppendTime"
    assert described(client, kafka.decisions_topic, "message.timestamp.type") == "LogAppendTime"
    assert described(client, kafka.decisions_topic, "retention.ms") == str(7 * 24 * 60 * 60 * 1000)


def topics_client(stack: services.Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.kafka_brokers})


def described(client: AdminClient, topic: str, key: str) -> str:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return str(client.describe_configs([resource])[resource].result()[key].value)


def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraudengine.services.topics._TIMEOUT_SECONDS", 0.5)
    kafka = load(flags={"kafka.brokers": "127.0.0.1:1", "kafka.client": {"log_level": "0"}}).kafka
    with pytest.raises(ServiceError, match=r"kafka at 127\.0\.0\.1:1 does not answer"):
        create_topics(kafka)
