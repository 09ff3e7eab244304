"""Targets that misbehave and go away under the whole service: every alert arrives, and no message twice."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_process import AlertsUnderTest
from alert_records import alert, send_alerts
from mail_server import MailBox, free_port, mail_server
from secured import Authority
from service_stack import Fresh
from stream_process import eventually
from webhook_server import Answer, WebhookServer, webhook_server

CARDS = 20
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="fraudengine-alerts-") as folder:
        yield Authority(Path(folder))


@pytest.fixture
def server(authority: Authority) -> Iterator[WebhookServer]:
    with webhook_server(authority.server("localhost")) as running:
        yield running


def settings(fresh: Fresh, topic: str, authority: Authority, folder: Path) -> dict[str, object]:
    return {
        "kafka.brokers": fresh.stack.kafka_brokers,
        "kafka.alerts_topic": topic,
        "alerts.state_folder": folder / "state",
        "alerts.start": "earliest",
        "alerts.group_wait_seconds": 0.2,
        "alerts.group_interval_seconds": 1,
        "alerts.timeout_seconds": 1,
        "alerts.retry_seconds_max": 0.2,
        "alerts.senders": 2,
        "alerts.private_hosts": ["localhost"],
        "alerts.ca_file": authority.root,
    }


def hook(server: WebhookServer) -> dict[str, Any]:
    url = {"url": server.url, "secret": SECRET}
    return {"kind": "webhook", "messages_per_minute": 60_000, **url}


def sent(fresh: Fresh, topic: str, first: int, count: int) -> Counter[str]:
    """Send alerts over the cards; return how many each card had."""
    alerts = [alert(number, card=f"k{number % CARDS}") for number in range(first, first + count)]
    send_alerts(fresh.stack.kafka_brokers, topic, alerts)
    return Counter(f"card:{each.card}" for each in alerts)


def test_nothing_is_lost_while_a_webhook_misbehaves(
    fresh: Fresh, authority: Authority, server: WebhookServer, tmp_path: Path
) -> None:
    seed = 7
    draws = random.Random(seed)
    bad = [Answer(429), Answer(429, (("Retry-After", "1"),)), Answer(500), Answer(503), Answer(0)]

    def answer(number: int) -> Answer:
        # The first ones fail in every way, then a third of them.
        return bad[number % len(bad)] if number <= 5 else draws.choice([*bad[:3], *[Answer()] * 6])

    server.answer = answer
    topic = fresh.topic("alerts")
    told = settings(fresh, topic, authority, tmp_path)
    told |= {"alerts.targets": {"hook": hook(server)}, "alerts.hosts": [server.host]}
    expected = sent(fresh, topic, 0, 200)
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: server.calls > 8, 60, f"calls that fail, seed {seed}")
        expected += sent(fresh, topic, 200, 200)
        eventually(lambda: server.alerts() == expected, 120, f"every alert, seed {seed}\n{service.tail()}")
        eventually(lambda: not service.status()["waiting"], 30, "nothing that waits")
        assert set(server.ids().values()) == {1}
        failed = service.metric('fraudengine_alert_attempts_failed_total{kind="trouble",target="hook"}')
        assert failed >= 5
        assert service.stop() == 0
    log = service.log.read_text()
    assert "hidden-path" not in log
    assert SECRET not in log
    assert "localhost: status 429 (ok)" in log


def test_a_webhook_that_is_refused_for_good_is_kept_and_sent_off_again(
    fresh: Fresh, authority: Authority, server: WebhookServer, tmp_path: Path
) -> None:
    server.answer = lambda _number: Answer(404)
    topic = fresh.topic("alerts")
    told = settings(fresh, topic, authority, tmp_path)
    told |= {"alerts.targets": {"hook": hook(server)}, "alerts.hosts": [server.host]}
    expected = sent(fresh, topic, 0, CARDS)
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: service.status()["failed"] == {"hook": CARDS}, 60, "messages that are refused")
        assert service.metric('fraudengine_alert_messages_failed{target="hook"}') == CARDS
        listed = json.loads(service.run("failed", "--json"))
        assert {each["error"] for each in listed} == {"localhost: status 404 (ok)"}
        assert len(listed) == CARDS
        server.answer = lambda _number: Answer()
        assert json.loads(service.run("retry", "--target", "hook", "--json")) == {"messages": CARDS}
        eventually(lambda: server.alerts() == expected, 60, "every alert")
        assert set(server.ids().values()) == {1}
        assert service.stop() == 0


def test_mail_that_is_down_and_comes_back_gets_everything_and_holds_nobody_up(
    fresh: Fresh, authority: Authority, server: WebhookServer, tmp_path: Path
) -> None:
    box, port = MailBox(), free_port()
    context = authority.server("localhost")
    mail = {
        "kind": "email",
        "host": "localhost",
        "port": port,
        "sender": "a@example.com",
        "to": "b@example.com",
        "messages_per_minute": 60_000,
    }
    topic = fresh.topic("alerts")
    told = settings(fresh, topic, authority, tmp_path)
    told |= {"alerts.targets": {"mail": mail, "hook": hook(server)}, "alerts.hosts": [server.host]}
    with AlertsUnderTest(told, tmp_path) as service:
        expected = sent(fresh, topic, 0, CARDS)
        eventually(lambda: server.alerts() == expected, 60, f"the webhook is told\n{service.tail()}")
        assert service.metric('fraudengine_alert_oldest_waiting_seconds{target="mail"}') > 0
        box.answer = lambda number: "451 later" if number <= 2 else "250 OK"
        with mail_server(box, port, context):
            eventually(lambda: len(box.mails) == CARDS, 60, f"mails\n{service.tail()}")
        expected += sent(fresh, topic, CARDS, 3 * CARDS)
        eventually(lambda: server.alerts() == expected, 60, "the webhook is told of more")
        with mail_server(box, port, context):
            eventually(lambda: mailed(box) == expected, 60, f"mails about all of it\n{service.tail()}")
        assert set(box.ids().values()) == {1}
        assert set(server.ids().values()) == {1}
        assert service.stop() == 0


def mailed(box: MailBox) -> Counter[str]:
    """Return the alerts told of by subject."""
    told: Counter[str] = Counter()
    for mail in box.mails:
        count, rest = str(mail["Subject"]).split(" ", 1)
        told[rest.split("card ")[1].split(" ")[0].join(["card:", ""])] += int(count.replace(",", ""))
    return told
