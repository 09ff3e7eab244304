"""Where the alert service meets an end: of the log, of the disk, of a snooze; and its commands and manual."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from alert_process import AlertsUnderTest
from alert_records import alert, send_alerts
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from inbox import mails
from service_stack import Fresh
from stream_process import eventually

from fraudengine.alerts.outbox import FILE_NAME, Outbox
from fraudengine.alerts.service import AlertService
from fraudengine.cli import main
from fraudengine.config import load
from fraudengine.errors import ConfigError

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"


def flags(fresh: Fresh, topic: str, folder: Path, **more: object) -> dict[str, object]:
    """Return settings of a service with an inbox and no waits."""
    return {
        "kafka.brokers": fresh.stack.kafka_brokers,
        "kafka.alerts_topic": topic,
        "alerts.state_folder": folder / "state",
        "alerts.start": "earliest",
        "alerts.group_wait_seconds": 0,
        "alerts.group_interval_seconds": 1,
        "alerts.targets": {"inbox": {"kind": "inbox", "folder": str(folder / "inbox")}},
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def test_alerts_that_expired_are_counted_and_the_rest_is_told(fresh: Fresh, tmp_path: Path) -> None:
    topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
    told = flags(fresh, topic, tmp_path)
    send_alerts(brokers, topic, [alert(0, card="before")])
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: mails(tmp_path / "inbox"), 60, "a message")
        assert service.stop() == 0
    send_alerts(brokers, topic, [alert(number, card="expires") for number in range(1, 5)])
    admin = AdminClient({"bootstrap.servers": brokers})
    for each in admin.delete_records([TopicPartition(topic, 0, 5)]).values():
        each.result(30)
    send_alerts(brokers, topic, [alert(5, card="after")])
    with AlertsUnderTest(told, tmp_path) as service:
        eventually(lambda: len(mails(tmp_path / "inbox")) == 2, 60, "another message")
        assert service.metric("fraudengine_alerts_missed_total") == 4
        assert service.stop() == 0
    assert "alerts expired before they were read" in service.log.read_text()
    assert "after" in str(mails(tmp_path / "inbox")[1]["Subject"])


def test_another_log_is_not_taken_for_the_one_that_was_read(fresh: Fresh, tmp_path: Path) -> None:
    topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
    send_alerts(brokers, topic, [alert(number) for number in range(5)])
    with AlertsUnderTest(flags(fresh, topic, tmp_path), tmp_path) as service:
        service.await_read(5)
        assert service.stop() == 0
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as db:
        db.execute("UPDATE place SET next_offset = 9")
    db.close()
    with AlertsUnderTest(flags(fresh, topic, tmp_path), tmp_path) as service:
        assert service.process.wait(60) == 1
    assert f"error: the topic {topic} ends at 5, and 9 of it were read" in service.log.read_text()


def test_a_fault_of_our_own_ends_the_service_loudly(fresh: Fresh, tmp_path: Path) -> None:
    topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
    # A file stands where the folder of the inbox should be: messages wait.
    (tmp_path / "inbox").touch()
    send_alerts(brokers, topic, [alert(0)])
    with AlertsUnderTest(flags(fresh, topic, tmp_path), tmp_path) as service:
        eventually(lambda: service.status()["waiting"] == {"inbox": 1}, 60, "a message that waits")
        assert service.stop() == 0
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as db:
        db.execute("UPDATE messages SET message = '{'")
    db.close()
    with AlertsUnderTest(flags(fresh, topic, tmp_path), tmp_path) as service:
        assert service.process.wait(60) == 1
    assert "error: unexpected JSONDecodeError" in service.log.read_text()


def test_a_full_disk_loses_nothing(fresh: Fresh, tmp_path: Path) -> None:
    topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
    settings = load(flags={**flags(fresh, topic, tmp_path), "http.port": 0, "log.level": "error"})
    with AlertService(settings) as service:
        eventually(lambda: service.ready, 60, "the topic is read")
        # As many pages as there are: SQLite says that the disk is full.
        with service._outbox.reading() as db:
            db.execute("PRAGMA max_page_count = 1")
        send_alerts(brokers, topic, [alert(number, card=f"k{number}") for number in range(500)])
        eventually(lambda: not service.ready, 60, "reading pauses")
        assert service.error is None
        assert service.status()["next_offset"] == 0
        with service._outbox.reading() as db:
            db.execute("PRAGMA max_page_count = 1000000")
        eventually(lambda: len(mails(tmp_path / "inbox")) == 500, 120, "everything is told")
        eventually(lambda: service.status()["groups"] == 0, 60, "the groups end")
    assert len({mail["Message-ID"] for mail in mails(tmp_path / "inbox")}) == 500


def test_a_snooze_from_the_shell_holds_a_running_service_back(fresh: Fresh, tmp_path: Path) -> None:
    topic, brokers = fresh.topic("alerts"), fresh.stack.kafka_brokers
    with AlertsUnderTest(flags(fresh, topic, tmp_path), tmp_path) as service:
        service.run("snooze", "--card", "quiet", "--for", "2h", "--by", "kim")
        send_alerts(brokers, topic, [alert(0, card="quiet"), alert(1, card="quiet"), alert(2, card="loud")])
        eventually(lambda: mails(tmp_path / "inbox"), 60, "a message")
        assert service.status()["snoozes"] == 1
        assert [mail["Subject"] for mail in mails(tmp_path / "inbox")] == ["1 alert: card loud (review 1)"]
        service.run("snooze", "--card", "quiet", "--for", "0s")
        eventually(lambda: len(mails(tmp_path / "inbox")) == 2, 60, "the rest")
        assert mails(tmp_path / "inbox")[1]["Subject"] == "2 alerts: card quiet (review 2)"
        assert service.stop() == 0


def test_a_folder_is_for_one_process(fresh: Fresh, tmp_path: Path) -> None:
    settings = load(flags={**flags(fresh, fresh.topic("alerts"), tmp_path), "http.port": 0})
    with AlertService(settings), pytest.raises(ConfigError, match=r"alerts\.state_folder .* is in use"):
        AlertService(settings)


def test_a_service_without_a_target_does_not_start(fresh: Fresh, tmp_path: Path) -> None:
    told = {**flags(fresh, "alerts", tmp_path), "alerts.targets": {}}
    with pytest.raises(ConfigError, match=r"alerts\.targets is empty"):
        AlertService(load(flags=told))


def test_the_manual_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table of settings in it is accepted, and every command that needs no service ends well."""
    monkeypatch.chdir(tmp_path)
    text = MANUAL.read_text("utf-8")
    parts = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(parts) == 2
    (tmp_path / "fraudengine.toml").write_text("\n".join(parts))
    settings = load()
    assert set(settings.alerts.targets) == {"fraud-desk", "on-call", "case-system", "pager", "inbox"}
    assert set(settings.alerts.routes) == {"large", "groceries-abroad"}
    commands = re.findall(r"^fraudengine (alerts (?:failed|retry|snooze)[^#\n]*)", text, re.MULTILINE)
    assert len(commands) == 4
    for command in (*commands, "alerts test --inbox inbox --json"):
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert ended.value.code == 0, command
    assert len(mails(tmp_path / "inbox")) == 1
    outbox = Outbox(settings.alerts)
    assert outbox.snoozed(0) == {}
    outbox.close()


def test_wrong_usage_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong, said in (
        (["alerts", "--json", "failed"], "give options behind failed"),
        (["alerts", "snooze", "--for", "1h"], "exactly one of --card"),
        (["alerts", "snooze", "--for", "1h", "--card", "a", "--device", "b"], "exactly one of --card"),
        (["alerts", "snooze", "--for", "31d", "--card", "a"], "30 days at most"),
        (["alerts", "retry", "--target", "nobody"], "--target nobody is not in alerts.targets"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2, wrong
        assert said in capsys.readouterr().err
