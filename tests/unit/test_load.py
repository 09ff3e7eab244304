"""Loads to Kafka without a broker: the days a load needs, what is refused, and how it is said."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.cli.load_view import properties
from fraudengine.datasets.load import DAYS_MAX, LoadTarget, days_needed, start_load
from fraudengine.datasets.synthetic import SyntheticConfig
from fraudengine.errors import ConfigError, ServiceError

SMALL = SyntheticConfig(customers=1_000, daily_mean=1.0, days=5)


def target(**changes: object) -> LoadTarget:
    return LoadTarget(**{"brokers": "127.0.0.1:1", **changes})  # type: ignore[arg-type]  # one of several types


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_load_gets_as_many_days_as_its_limits_need() -> None:
    assert days_needed(SMALL, target(count=100_000)) == 111
    assert days_needed(SMALL, target(tps=1_000, seconds=10)) == 12
    assert days_needed(SMALL, target(tps=1_000, seconds=10, warm_days=5, skip_days=2)) == 19
    assert days_needed(SMALL, target(tps=1_000)) == DAYS_MAX
    assert days_needed(SMALL, target(tps=0)) == 100


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tps": -1.0}, "tps"),
        ({"malformed": 101.0}, "malformed"),
        ({"warm_days": 6}, "warm_days"),
        ({"payload_format": "avro"}, "avro"),
        ({"client": {"no.such.property": "1"}}, "no.such.property"),
    ],
)
def test_a_setting_out_of_range_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        start_load(SMALL, target(**changes))


def test_client_properties_are_pairs() -> None:
    assert properties(["security.protocol=ssl", "ssl.ca.location=/a=b"]) == {
        "security.protocol": "ssl",
        "ssl.ca.location": "/a=b",
    }
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        properties(["linger.ms"])


def test_generate_needs_a_file_or_a_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate") == ExitCode.USAGE
    assert "--out" in capsys.readouterr().err
    assert run("generate", "--out", str(tmp_path / "x.csv"), "--broker", "127.0.0.1:1") == ExitCode.USAGE


def test_a_broker_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}"):
        start_load(SMALL, target(brokers=f"127.0.0.1:{port}"))
