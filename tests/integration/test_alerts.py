"""The alert service on a real broker: storms, groups, markers, restarts, into an inbox and real servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_process import AlertsUnderTest
from alert_records import alert, alert_bytes, marker_bytes, send_alerts
from inbox import mails
from service_stack import Fresh
from stream_process import eventually
from wire_messages import produce


@pytest.fixture
def topic(fresh: Fresh) -> str:
    return fresh.topic("alerts")


def settings(fresh: Fresh, topic: str, folder: Path, **more: object) -> dict[str, object]:
    """Return settings of a service with an inbox; `more` is written with two underscores for a dot."""
    return {
        "kafka.brokers": fresh.stack.kafka_brokers,
        "kafka.alerts_topic": topic,
        "alerts.state_folder": folder / "state",
        "alerts.start": "earliest",
        "alerts.group_wait_seconds": 1,
        "alerts.targets": {"inbox": {"kind": "inbox", "folder": folder / "inbox"}},
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def test_a_storm_on_one_card_is_one_message_and_then_roll_ups(
    fresh: Fresh, topic: str, tmp_path: Path
) -> None:
    brokers = fresh.stack.kafka_brokers
    storm = [alert(number, action="block" if number % 4 else "review") for number in range(10_000)]
    send_alerts(brokers, topic, storm)
    told = settings(fresh, topic, tmp_path, alerts__group_interval_seconds=2)
    with AlertsUnderTest(told, tmp_path) as service:
        service.await_read(10_000)
        eventually(lambda: mails(tmp_path / "inbox"), 30, "the first message")
        first = mails(tmp_path / "inbox")[0]
        assert first["Subject"] == "10,000 alerts: card k0 (block 7,500, review 2,500)"
        text = first.get_content().replace("\r\n", "\n")
        assert "block: 7,500 for EUR 92,550.00" in text
        assert "newest: t9999, block, EUR 12.34 by c0 at m0\nnewest: t9998, block" in text
        assert text.count("newest: ") == 5
        send_alerts(brokers, topic, [alert(10_000 + number) for number in range(50)])
        send_alerts(brokers, topic, [alert(10_050 + number) for number in range(50)])
        eventually(lambda: len(mails(tmp_path / "inbox")) == 2, 30, "the roll-up")
        second = mails(tmp_path / "inbox")[1]
        assert second["Subject"] == "100 more alerts: card k0 (review 100)"
        assert second["References"] == first["Message-ID"]
        assert "message 2 of this group, 10,000 alerts before it" in second.get_content()
        assert service.metric('fraudengine_alert_messages_sent_total{target="inbox"}') == 2
        assert service.metric("fraudengine_alerts_taken_total") == 10_100
        assert service.page("/healthz")
        assert service.page("/readyz")
        # Silent for an interval, the group ends, and the next alert begins another one.
        eventually(lambda: service.status()["groups"] == 0, 30, "the end of the group")
        assert service.stop() == 0


def test_what_does_not_count_is_left_out(fresh: Fresh, topic: str, tmp_path: Path) -> None:
    records = [
        marker_bytes(),
        alert_bytes(alert(1), generation=0),
        marker_bytes(2),
        alert_bytes(alert(2), generation=2),
        alert_bytes(alert(3), generation=0),
        alert_bytes(alert(4), generation=2, flags=1),
        b"\xff\xff\xff",
        alert_bytes(alert(5), generation=2),
    ]
    produce(fresh.stack.kafka_brokers, topic, ((0, None, value) for value in records))
    with AlertsUnderTest(settings(fresh, topic, tmp_path), tmp_path) as service:
        service.await_read(len(records))
        eventually(lambda: mails(tmp_path / "inbox"), 30, "a message")
        (only,) = mails(tmp_path / "inbox")
        assert only["Subject"] == "3 alerts: card k0 (review 3)"
        newest = [line for line in only.get_content().splitlines() if line.startswith("newest: ")]
        assert [line.split(",")[0] for line in newest] == ["newest: t5", "newest: t2", "newest: t1"]
        for reason, count in {"marker": 2, "replaced": 1, "repeated": 1, "unreadable": 1}.items():
            assert service.metric(f'fraudengine_alerts_ignored_total{{reason="{reason}"}}') == count
        assert service.stop() == 0


def test_a_service_that_was_away_goes_on_where_it_was(fresh: Fresh, topic: str, tmp_path: Path) -> None:
    brokers = fresh.stack.kafka_brokers
    told = settings(fresh, topic, tmp_path, alerts__start="latest", alerts__group_wait_seconds=0)
    send_alerts(brokers, topic, [alert(0, card="before-the-first-start")])
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: service.status()["next_offset"] == 1, 30, "its place")
        assert service.stop() == 0
    send_alerts(brokers, topic, [alert(1, card="while-away")])
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: mails(tmp_path / "inbox"), 30, "a message")
        assert service.stop() == 0
    assert [mail["Subject"] for mail in mails(tmp_path / "inbox")] == ["1 alert: card while-away (review 1)"]
