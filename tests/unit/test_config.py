"""The configuration: precedence, one-line refusals, masked secrets, what the native runtime is given."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fraudengine import services
from fraudengine.cli import main
from fraudengine.config import Settings, default_text, load
from fraudengine.errors import ConfigError, ServiceError
from fraudengine.services.processes import Process

SECRET = "s3cr3t"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_first_that_has_a_value_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fraudengine.toml"
    path.write_text("[engine]\nthreads = 2\nbatch_max = 100\n[kafka]\npartitions = 8\n")
    monkeypatch.setenv("FRAUDENGINE_ENGINE__THREADS", "3")
    monkeypatch.setenv("FRAUDENGINE_ENGINE__BATCH_MAX", "200")
    settings = load(flags={"engine.threads": 4})
    assert (settings.engine.threads, settings.engine.batch_max) == (4, 200)
    assert (settings.kafka.partitions, settings.kafka.group) == (8, "fraudengine")
    assert [
        settings.origin(name)
        for name in ("engine.threads", "engine.batch_max", "kafka.partitions", "kafka.group")
    ] == ["flag", "FRAUDENGINE_ENGINE__BATCH_MAX", "fraudengine.toml", "default"]


def test_another_file_is_taken_when_named(tmp_path: Path) -> None:
    (tmp_path / "fraudengine.toml").write_text("[engine]\nthreads = 2\n")
    other = tmp_path / "other.toml"
    other.write_text("[engine]\nbatch_max = 100\n")
    settings = load(other)
    assert (settings.engine.threads, settings.engine.batch_max) == (1, 100)
    assert settings.origin("engine.batch_max") == str(other)


def test_tables_are_json_in_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUDENGINE_ENGINE__RATES", '{"USD": 0.92}')
    settings = load(flags={"kafka.client": '{"security.protocol": "SSL"}'})
    assert settings.engine.rates == {"USD": 0.92}
    assert settings.kafka.client == {"security.protocol": "SSL"}


def test_every_key_is_in_the_default_file_with_a_comment() -> None:
    found = tomllib.loads(default_text())
    names = {f"{section}.{key}" for section, keys in found.items() for key in keys}
    assert names == {name for name, _, _ in load().printable()}
    lines = default_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            # Twins share the comment above the first of them.
            above = next(each for each in reversed(lines[:number]) if not re.match(r"\w+ = ", each))
            assert above.startswith("# "), line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[kafka]\nbrokrs = 'x'",
            r"kafka\.brokrs in fraudengine\.toml is not a setting; the nearest one is kafka\.brokers",
        ),
        (
            "[kafak]\nbrokers = 'x'",
            r"\[kafak\] in fraudengine\.toml is not a section; the nearest one is kafka",
        ),
        ("kafka = 3", r"kafka in fraudengine\.toml must be a section, written \[kafka\]"),
        (
            "[engine]\nthreads = 0",
            r"engine\.threads is 0, from fraudengine\.toml: it should be greater than or equal to 1",
        ),
        (
            "[engine]\nthreads = 'two'",
            r"engine\.threads is 'two', from fraudengine\.toml: it should be a valid integer",
        ),
        ("[engine]\nrates = {usd = 1}", r"engine\.rates is \{'usd': 1\} \(usd\), from"),
        ("[engine]\nrates = {USD = nan}", r"engine\.rates is .* \(USD\), from"),
        ("[output]\ncompression = 'zstd'", r"output\.compression is 'zstd', .* it should be 'none' or 'lz4'"),
        ("[kafka]\ntransactions_topic = 'a b'", r"kafka\.transactions_topic is 'a b'"),
        ("[http]\nport = 65536", r"http\.port is 65536, .* less than or equal to 65535"),
        ("[http", r"fraudengine\.toml is not TOML"),
    ],
)
def test_a_file_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "fraudengine.toml").write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        load()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FRAUDENGINE_KAFKA__BROKRS", "x", r"the nearest one is FRAUDENGINE_KAFKA__BROKERS"),
        ("FRAUDENGINE_KAFKA_BROKERS", "x", r"the nearest one is FRAUDENGINE_KAFKA__BROKERS"),
        ("FRAUDENGINE_NOBODY__KNOWS", "x", r"FRAUDENGINE_NOBODY__KNOWS is not a setting"),
        ("FRAUDENGINE_ENGINE__THREADS", "65", r"engine\.threads is '65', from FRAUDENGINE_ENGINE__THREADS"),
        ("FRAUDENGINE_ENGINE__RATES", "{", r"engine\.rates is '\{', from FRAUDENGINE_ENGINE__RATES"),
    ],
)
def test_a_variable_is_refused_by_its_name(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=said):
        load()


def test_foreign_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUDENGINE_PARITY_ROWS", "10")
    assert load().engine.threads == 1


def test_several_refusals_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"engine\.threads .*; http\.port "):
        load(flags={"engine.threads": 0, "http.port": -1})
    with pytest.raises(
        ConfigError, match=r"engine\.thread is not a setting; the nearest one is engine\.threads"
    ):
        load(flags={"engine.thread": 1})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read"):
        load(tmp_path / "nothing.toml")


def with_secrets() -> Settings:
    return load(
        flags={
            "dead_letter.hash_key": SECRET,
            "postgres.url": f"postgresql://writer:{SECRET}@db/fraud?sslpassword={SECRET}&sslmode=require",
            "redis.url": f"redis://:{SECRET}@cache:6379/0",
            "kafka.brokers": "kafka:9092",
            "kafka.client": {"sasl.username": "u", "sasl.password": SECRET, "ssl.key.pem": SECRET},
        }
    )


def test_secrets_are_masked_wherever_settings_are_printed(capsys: Captured) -> None:
    settings = with_secrets()
    printed = {name: str(value) for name, value, _ in settings.printable()}
    assert SECRET not in f"{settings} {settings!r} {printed}"
    assert printed["postgres.url"] == (
        "postgresql://writer:********@db/fraud?sslpassword=********&sslmode=require"
    )
    assert printed["redis.url"] == "redis://:********@cache:6379/0"
    assert "'sasl.username': 'u'" in printed["kafka.client"]
    with pytest.raises(SystemExit):
        main(["config", "--set", f"postgres.url=host=db password={SECRET}", "--json"])
    assert json.loads(capsys.readouterr().out)["postgres"]["url"]["value"] == "host=db password=********"


def test_secrets_are_masked_in_refusals() -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags={"kafka.client": {"sasl.password": SECRET, "retries": 3}})
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        load(flags={"dead_letter.hash_key": [SECRET], "dashboard.analyst_password": [SECRET]})
    assert SECRET not in str(refused.value)


def test_the_native_runtime_is_given_everything_but_the_sections_of_python() -> None:
    told = json.loads(with_secrets().native_json())
    assert set(told) == set(Settings.model_fields) - {
        "serve",
        "dashboard",
        "alerts",
        "spark",
        "embedded",
    }
    assert told["dead_letter"] == {"raw": False, "hash_key": SECRET, "poison_max": 100}
    assert SECRET in told["postgres"]["url"]
    assert told["kafka"]["client"]["ssl.key.pem"] == SECRET


def stack(*names: str) -> services.Stack:
    log = Path("x.log")
    each = {name: services.Service(name, Process(1, "x"), port, log) for port, name in enumerate(names, 5000)}
    return services.Stack(Path("data"), each)


def test_empty_addresses_are_those_of_the_embedded_services() -> None:
    settings = load(flags={"redis.url": "redis://elsewhere:1/0"})
    assert settings.embedded_wanted() == ("kafka", "postgres")
    told: dict[str, Any] = json.loads(settings.native_json(stack("kafka", "postgres")))
    assert told["kafka"]["brokers"] == "127.0.0.1:5000"
    assert told["postgres"]["url"] == "postgresql://fraudengine@127.0.0.1:5001/fraudengine"
    assert told["redis"]["url"] == "redis://elsewhere:1/0"


def test_what_is_switched_off_needs_no_address() -> None:
    settings = load(flags={"redis.enabled": "false", "postgres.enabled": False})
    assert settings.embedded_wanted() == ("kafka",)
    told = json.loads(settings.native_json(stack("kafka")))
    assert told["postgres"]["url"] == told["redis"]["url"] == ""


def test_a_service_that_does_not_run_is_named_with_the_way_to_start_it() -> None:
    with pytest.raises(
        ServiceError, match=r"kafka does not run in .*services: start it with `fraudengine up`"
    ):
        load().native_json()


def test_the_command_prints_values_and_origins(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "fraudengine.toml").write_text("[postgres]\nenabled = false\n")
    with pytest.raises(SystemExit) as ended:
        main(["config", "--set", "engine.threads=2"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.search(r"engine\.threads +│ 2 +│ flag", line) for line in lines)
    assert any(re.search(r"postgres\.enabled +│ false +│ fraudengine\.toml", line) for line in lines)


def test_the_command_prints_the_defaults_as_a_file_to_start_from(tmp_path: Path, capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["config", "--default"])
    (tmp_path / "fraudengine.toml").write_text(capsys.readouterr().out)
    assert load().origin("kafka.brokers") == "fraudengine.toml"


def test_a_wrong_assignment_is_said_in_one_line(capsys: Captured) -> None:
    for arguments, said in (
        (["--set", "threads"], "not of the form SECTION.KEY=VALUE"),
        (["--set", "threads=1"], "threads is not a setting; the nearest one is engine.threads"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["config", *arguments])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
