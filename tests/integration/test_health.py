"""`fraudengine health` against pages and servers that are well, ill, absent, and no addresses at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scoring_server import running
from small_bundle import scoring_bundle

from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.health import unhealthy
from fraudengine.services import ports

Captured = pytest.CaptureFixture[str]


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["health", *arguments])
    return int(str(ended.value.code))


@contextmanager
def nobody() -> Iterator[str]:
    port = ports.choose({"nobody": 0}, {})["nobody"]
    yield f"127.0.0.1:{port}"


def test_a_service_is_healthy_while_it_serves(tmp_path: Path, capsys: Captured) -> None:
    with running(scoring_bundle(tmp_path), {}) as server:
        assert code(f"grpc://{server.address}", "--wait", "30") == ExitCode.OK
        assert "is healthy" in capsys.readouterr().err
        page = server.metrics_address
        assert unhealthy(page, 5.0) == ""
    assert code(f"grpc://{server.address}") == ExitCode.FAILED
    assert "is not healthy: UNAVAILABLE" in capsys.readouterr().err


def test_where_nobody_listens_it_fails_and_says_so(capsys: Captured) -> None:
    with nobody() as address:
        assert code(f"http://{address}/readyz", "--wait", "0.1") == ExitCode.FAILED
        assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "ftp://x/y", "grpc://", "http:///page"])
def test_what_is_no_address_is_wrong_usage(address: str, capsys: Captured) -> None:
    assert code(address) == ExitCode.USAGE
    assert "must be http://HOST:PORT/PAGE" in capsys.readouterr().err
