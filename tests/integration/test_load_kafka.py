"""Loads on a real broker: every record once, where Java clients would put it, at its time."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from service_stack import Fresh

from fraudengine.cli import main
from fraudengine.datasets.load import LoadReport, LoadTarget, start_load
from fraudengine.datasets.synthetic import SyntheticConfig, generate
from fraudengine.services.processes import wait_until

SMALL = SyntheticConfig(customers=400, merchants=100, days=12, fraud_rate=0.02, label_delay_hours=24.0)
DEADLINE_SECONDS = 60.0


def murmur2(data: bytes) -> int:
    """Return the hash by which the Java client chooses a partition, as a non-negative number."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & mask
        value = value * factor & mask ^ (word ^ word >> 24) * factor & mask
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return (value ^ value >> 15) & 0x7FFFFFFF


def sent(config: SyntheticConfig, target: LoadTarget) -> LoadReport:
    load = start_load(config, target)
    assert load.wait(DEADLINE_SECONDS)
    return load.report()


def records(fresh: Fresh, topic: str, partitions: int) -> list[Any]:
    """Return everything that a topic holds."""
    client = Consumer({"bootstrap.servers": fresh.stack.kafka_brokers, "group.id": fresh.name("reader")})
    found: list[Any] = []
    try:
        ends = {
            number: client.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1]
            for number in range(partitions)
        }
        client.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        while missing := sum(ends.values()) - len(found):
            # Not more than there is: the client would wait for the rest.
            found += client.consume(min(missing, 10_000), timeout=30)
    finally:
        client.close()
    return found


def test_every_record_arrives_once_in_its_partition_with_the_labels_that_are_known(fresh: Fresh) -> None:
    topic, labels = fresh.topic(partitions=3), fresh.topic()
    brokers = fresh.stack.kafka_brokers
    target = LoadTarget(brokers=brokers, topic=topic, labels_topic=labels, payload_format="json", tps=0)
    report = sent(SMALL, target)
    history = generate(SMALL)
    assert (report.phase, report.transactions, report.failed) == ("done", history.height, 0)
    assert report.acked == report.transactions + report.labels

    by_partition: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in records(fresh, topic, 3):
        assert record.partition() == murmur2(record.key()) % 3
        row = json.loads(record.value())
        assert row["customer_id"].encode() == record.key()
        by_partition[record.partition()].append(row)
    rows = {row["transaction_id"]: row for part in by_partition.values() for row in part}
    assert sum(map(len, by_partition.values())) == len(rows) == history.height
    for part in by_partition.values():
        times = [row["event_time"] for row in part]
        assert times == sorted(times)
    for line in history.head(200).iter_rows(named=True):
        row = rows[line["transaction_id"]]
        assert row["amount_minor"] == line["amount_minor"]
        assert row["event_time"] == int(line["event_time"].timestamp() * 1e6 + 0.5)
        assert (row.get("card_id"), row["merchant_id"]) == (line["card_id"], line["merchant_id"])

    last = history["event_time"].dt.date().max()
    known = history.filter(history["label_known_time"].dt.date() <= last)
    told = [json.loads(record.value()) for record in records(fresh, labels, 1)]
    assert Counter(row["transaction_id"] for row in told) == Counter(known["transaction_id"])
    assert sum(row["is_fraud"] for row in told) == known["is_fraud"].sum()


def test_a_rate_is_kept_after_a_warm_up_at_full_speed(fresh: Fresh) -> None:
    topic = fresh.topic(partitions=2)
    target = LoadTarget(
        brokers=fresh.stack.kafka_brokers, topic=topic, labels_topic="", warm_days=8, tps=500, seconds=2
    )
    report = sent(SMALL, target)
    paced = report.transactions - report.warm_transactions
    assert report.warm_transactions == generate(SMALL)["event_time"].dt.ordinal_day().is_between(1, 8).sum()
    assert 900 <= paced <= 1_001
    assert 1.9 < report.seconds < 3
    assert report.labels == 0
    stamps = sorted(record.timestamp()[1] for record in records(fresh, topic, 2))
    assert len(stamps) == report.acked == report.transactions
    # The last second held about 500 records: nothing was bunched up.
    assert 300 < sum(stamp > stamps[-1] - 1_000 for stamp in stamps) < 700


def test_a_load_that_holds_goes_on_when_it_is_released(fresh: Fresh) -> None:
    target = LoadTarget(
        brokers=fresh.stack.kafka_brokers,
        topic=fresh.topic(),
        labels_topic=fresh.topic(),
        warm_days=8,
        hold=True,
        tps=0,
    )
    load = start_load(SMALL, target)
    assert wait_until(lambda: load.report().phase == "holding", DEADLINE_SECONDS)
    held = load.report()
    # What the warm-up sent is acknowledged while the load waits.
    assert wait_until(lambda: load.report().acked == held.transactions + held.labels, DEADLINE_SECONDS)
    history = generate(SMALL)
    assert held.transactions == held.warm_transactions == history["event_time"].dt.ordinal_day().le(8).sum()
    load.release()
    assert load.wait(DEADLINE_SECONDS)
    report = load.report()
    assert (report.transactions, report.warm_transactions) == (history.height, held.transactions)


def test_broken_records_come_on_top_of_the_good_ones(
    fresh: Fresh, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = fresh.topic()
    arguments = ["--broker", fresh.stack.kafka_brokers, "--topic", topic, "--labels-topic", "", "--tps", "0"]
    more = ["--customers", "100", "--count", "500", "--malformed", "2", "--client", "linger.ms=1", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(["generate", *arguments, *more])
    assert ended.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["transactions"] == 500
    assert abs(report["malformed"] - 1_000) <= 4
    assert len(records(fresh, topic, 1)) == report["acked"] == report["transactions"] + report["malformed"]
