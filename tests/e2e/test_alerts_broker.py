"""A broker that goes away under the alert service: it waits, says so, and goes on where it was."""

from __future__ import annotations

from pathlib import Path

from alert_process import AlertsUnderTest
from alert_records import alert, send_alerts
from inbox import mails
from service_stack import embedded_settings
from stream_process import eventually

from fraudengine import services
from outages import own_services


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with own_services() as (folder, fresh):
        topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
        told = {
            "kafka.brokers": brokers,
            "kafka.alerts_topic": topic,
            "alerts.state_folder": tmp_path / "state",
            "alerts.start": "earliest",
            "alerts.group_wait_seconds": 0,
            "alerts.targets": {"inbox": {"kind": "inbox", "folder": str(tmp_path / "inbox")}},
        }
        send_alerts(brokers, topic, [alert(0, card="before")])
        with AlertsUnderTest(told, tmp_path) as service:
            eventually(lambda: len(mails(tmp_path / "inbox")) == 1, 60, "a message")
            services.down(folder)
            # Nothing comes for a while, so it asks, and nobody answers.
            eventually(lambda: not service.status()["ready"], 60, f"that it tells\n{service.tail()}")
            assert service.page("/healthz")
            services.up(embedded_settings(folder))
            send_alerts(brokers, topic, [alert(1, card="after")])
            eventually(lambda: len(mails(tmp_path / "inbox")) == 2, 90, f"the rest\n{service.tail()}")
            assert service.status()["ready"]
            assert service.stop() == 0
    assert "the alerts cannot be read now" in service.log.read_text()
