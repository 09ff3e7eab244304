"""Synthetic histories to Kafka: a steady open-loop load, or as fast as it goes.

The work is done by native threads; this module says what is sent where and how far it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from fraudengine import _native
from fraudengine.datasets.synthetic import SyntheticConfig

__all__ = ["Load", "LoadReport", "LoadTarget", "days_needed", "start_load"]

DAYS_MAX = 3_650
"""Days of the longest history that the generator makes."""


@dataclass(frozen=True, kw_only=True)
class LoadTarget:
    """Where a history goes, how fast and how much of it.

    Attributes
    ----------
    brokers
        `host:port`, several separated by commas.
    topic
        Topic of transactions, keyed by customer; the partition is the one that Java clients choose.
    labels_topic
        Topic of labels, sent when the history's clock passes the time they become known; empty: none.
    genuine_labels
        Whether genuine transactions have labels too; otherwise only what was reported as fraud has.
    payload_format
        `protobuf` or `json`, for both topics.
    schema_id
        Put a schema registry's framing with this id before each value; None: bare values.
    tps
        Transactions a second after the warm-up, whatever became of those before (open loop); 0: as fast as
        possible.
    skip_days
        Days at the start of the history whose events are not sent.
    warm_days
        Days after those that are sent as fast as possible, before rate, count and seconds apply.
    hold
        After the warm-up, wait for `Load.release`.
    count, seconds
        Transactions and seconds after the warm-up; 0: no limit. The end of the history ends the load too.
    malformed
        Broken records for each good transaction, 0 to 100; a test tool. Every one of them is refused by a
        reader that works, and the good records are the same with and without them.
    client
        Further librdkafka properties, for example for TLS and SASL.

    """

    brokers: str
    topic: str = "transactions"
    labels_topic: str = "labels"
    genuine_labels: bool = True
    payload_format: Literal["protobuf", "json"] = "protobuf"
    schema_id: int | None = None
    tps: float = 1_000.0
    skip_days: int = 0
    warm_days: int = 0
    hold: bool = False
    count: int = 0
    seconds: float = 0.0
    malformed: float = 0.0
    client: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Where a load stands; counts are of records.

    Attributes
    ----------
    phase
        `preparing`, `warming`, `holding`, `sending`, `flushing` or `done`; the figures of `done` are final.
    day
        Days of the history begun.
    transactions, warm_transactions, labels, malformed
        Records handed to the client: good transactions (of those the warm-up's), labels, broken records.
    acked, failed
        Records of all kinds that the broker has, and that could not be delivered.
    seconds, rate
        Time since the end of the warm-up, and transactions a second since then.
    late_seconds, late_seconds_max
        How far the load is behind its schedule, now and at the worst.
    error
        Why the last undelivered record was not delivered.

    """

    phase: str
    day: int
    transactions: int
    warm_transactions: int
    labels: int
    malformed: int
    acked: int
    failed: int
    seconds: float
    rate: float
    late_seconds: float
    late_seconds_max: float
    error: str | None


@final
class Load:
    """A load under way; see `start_load`. Safe to use from several threads."""

    def __init__(self, native: _native.Load) -> None:
        self._native = native

    def report(self) -> LoadReport:
        """Return where it stands."""
        return LoadReport(**self._native.report())

    def release(self) -> None:
        """Let a load that holds after its warm-up go on, now or when it gets there."""
        self._native.release()

    def stop(self) -> None:
        """Ask it to send no more and to flush what is under way."""
        self._native.stop()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until all is sent and flushed, or the time is over; return whether it is."""
        return self._native.wait(timeout_seconds)


def days_needed(config: SyntheticConfig, target: LoadTarget) -> int:
    """Return how many days a history must have for the target's limits, with a tenth to spare.

    Without a limit there is no telling: 90 days at full speed, ten years (the longest history) at a rate.
    """
    a_day = config.customers * config.daily_mean
    if target.count:
        days = target.count / a_day
    elif target.tps:
        days = target.tps * target.seconds / a_day if target.seconds else DAYS_MAX
    else:
        days = 90
    return min(DAYS_MAX, target.skip_days + target.warm_days + math.ceil(days * 11 / 10) + 1)


def start_load(config: SyntheticConfig, target: LoadTarget) -> Load:
    """Connect and start sending; returns at once.

    Raises
    ------
    ConfigError
        A setting is out of range, or the client does not know a property.
    ServiceError
        No broker answers within ten seconds, or a topic is not available.

    Examples
    --------
    >>> load = start_load(  # doctest: +SKIP
    ...     SyntheticConfig(), LoadTarget(brokers="127.0.0.1:9092", tps=5_000, seconds=60)
    ... )
    >>> while not load.wait(1.0):  # doctest: +SKIP
    ...     print(load.report().rate)
    """
    native = _native.Load(
        config.native(),
        brokers=target.brokers,
        client=dict(target.client),
        transactions_topic=target.topic,
        labels_topic=target.labels_topic,
        genuine_labels=target.genuine_labels,
        payload_format=target.payload_format,
        schema_id=target.schema_id,
        tps=target.tps,
        skip_days=target.skip_days,
        warm_days=target.warm_days,
        hold=target.hold,
        count=target.count,
        seconds=target.seconds,
        malformed=target.malformed,
    )
    return Load(native)
