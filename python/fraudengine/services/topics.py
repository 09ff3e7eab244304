"""The five topics of the stream, created where they do not exist yet.

A topic that exists is left as it is: on a real cluster its owner decides about partitions, replicas and
retention. What we create has as many replicas as the cluster gives by default. Retention:

- `transactions` and `decisions`: 7 days. A restart needs the decisions since the newest snapshot, and a
  writer that was down needs those since its last row: 7 days is the longest outage caught up without loss.
- `labels`, `alerts` and `dead-letter`: 30 days, for people who look at them later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its stub

from fraudengine.errors import ServiceError
from fraudengine.services.processes import wait_until

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fraudengine.settings import KafkaSettings

__all__ = ["create_topics", "topic_list"]

_DAY_MS = 24 * 60 * 60 * 1000
_TIMEOUT_SECONDS = 30.0


def topic_list(settings: KafkaSettings) -> list[NewTopic]:
    """Return the topics of these settings with the partitions and properties that we create them with.

    `transactions` and `decisions` stamp records with the broker's time of arrival: the bound on event times
    ahead of the clock is measured against the first, latencies from the first to the second.
    """

    def topic(name: str, days: int, partitions: int = 1, *, arrival: bool = False) -> NewTopic:
        properties = {"retention.ms": str(days * _DAY_MS)}
        if arrival:
            properties["message.timestamp.type"] = "LogAppendTime"
        return NewTopic(name, num_partitions=partitions, replication_factor=-1, config=properties)

    return [
        topic(settings.transactions_topic, 7, settings.partitions, arrival=True),
        topic(settings.labels_topic, 30),
        topic(settings.decisions_topic, 7, arrival=True),
        topic(settings.alerts_topic, 30),
        topic(settings.dead_letter_topic, 30),
    ]


def create_topics(settings: KafkaSettings) -> list[str]:
    """Create the topics that do not exist.

    Parameters
    ----------
    settings
        Section `[kafka]` with its brokers filled in (see `Settings.resolved`).

    Returns
    -------
    list of str
        Names of the topics that were created.

    Raises
    ------
    ServiceError
        No broker answers, or it refuses a topic.
    """
    client = AdminClient({"log_level": 3, **settings.client, "bootstrap.servers": settings.brokers})
    try:
        known = client.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise ServiceError(f"kafka at {settings.brokers} does not answer: {error.args[0].str()}") from error
    missing = [topic for topic in topic_list(settings) if topic.topic not in known]
    if not missing:
        return []
    answers = client.create_topics(missing, operation_timeout=_TIMEOUT_SECONDS)
    created = [name for name, answer in answers.items() if _was_created(name, answer)]
    _await_leaders(client, created)
    return created


def _was_created(name: str, answer: Future[None]) -> bool:
    try:
        answer.result()
    except KafkaException as error:
        reason = error.args[0]
        if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            # Another process was faster, with the same intention.
            return False
        raise ServiceError(f"kafka refuses to create the topic {name}: {reason.str()}") from error
    return True


def _await_leaders(client: AdminClient, names: list[str]) -> None:
    """Return when every partition can be written to: the broker learns of them a little later."""

    def led() -> bool:
        topics = client.list_topics(timeout=_TIMEOUT_SECONDS).topics
        return all(
            name in topics
            and topics[name].partitions
            and all(partition.leader >= 0 for partition in topics[name].partitions.values())
            for name in names
        )

    if not wait_until(led, _TIMEOUT_SECONDS):
        raise ServiceError(f"kafka has created {', '.join(names)} but no broker leads them")
