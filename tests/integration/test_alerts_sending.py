"""The pace of senders against a real server: asked to wait they wait, and what hangs delays only itself.

The outbox is filled by hand, so that nothing but sending takes time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alert_records import alert
from secured import Authority
from stream_process import eventually
from webhook_server import Answer, WebhookServer, webhook_server

from fraudengine.alerts.metrics import Metrics
from fraudengine.alerts.outbox import Outbox
from fraudengine.alerts.rollup import Rollup
from fraudengine.alerts.sending import Senders
from fraudengine.alerts.tables import Place
from fraudengine.alerts.targets import targets_of
from fraudengine.config import load
from fraudengine.log_lines import LineLogger


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="fraudengine-alerts-") as folder:
        yield Authority(Path(folder))


@pytest.fixture
def server(authority: Authority) -> Iterator[WebhookServer]:
    with webhook_server(authority.server("localhost")) as running:
        yield running


@contextmanager
def sending(
    authority: Authority, folder: Path, servers: dict[str, WebhookServer], groups: int, **more: object
) -> Iterator[Metrics]:
    """Run senders over an outbox that holds so many groups for each target."""
    per_minute = more.pop("messages_per_minute", 60_000)
    targets = {
        name: {"kind": "slack", "url": server.url, "messages_per_minute": per_minute}
        for name, server in servers.items()
    }
    told: dict[str, Any] = {
        "targets": targets,
        "state_folder": folder,
        "group_wait_seconds": 0,
        "timeout_seconds": 1,
        "hosts": tuple(server.host for server in servers.values()),
        "private_hosts": ("localhost",),
        "ca_file": authority.root,
        **more,
    }
    settings = load(flags={f"alerts.{name}": value for name, value in told.items()} | {"log.level": "error"})
    outbox, log = Outbox(settings.alerts), LineLogger("alerts", settings.log)
    outbox.go_to("alerts", Place(0, 0))
    arrivals = {
        (target, "all", f"card:{number}"): Rollup.of(alert())
        for target in servers
        for number in range(groups)
    }
    outbox.take_in(Place(0, 0), Place(groups, 0), arrivals, int(time.time() * 1e3))
    metrics = Metrics(servers, ())
    senders = Senders(settings.alerts, targets_of(settings.alerts), outbox, metrics, log)
    senders.start()
    try:
        yield metrics
    finally:
        senders.stop()
        outbox.close()
        log.close()


@pytest.mark.parametrize("status", [429, 503])
def test_a_target_that_asks_to_wait_is_left_alone_for_so_long(
    authority: Authority, server: WebhookServer, tmp_path: Path, status: int
) -> None:
    calls: list[float] = []

    def answer(number: int) -> Answer:
        calls.append(time.monotonic())
        return Answer(status, (("Retry-After", "2"),)) if number == 1 else Answer()

    server.answer = answer
    with sending(authority, tmp_path, {"x": server}, 3, retry_seconds_max=0.1):
        eventually(lambda: len(server.taken) == 3, 60, "all messages")
    assert server.calls == 4
    assert calls[1] - calls[0] >= 2.0


def test_a_target_is_sent_so_many_messages_a_minute(
    authority: Authority, server: WebhookServer, tmp_path: Path
) -> None:
    calls: list[float] = []

    def answer(_number: int) -> Answer:
        calls.append(time.monotonic())
        return Answer()

    server.answer = answer
    with sending(authority, tmp_path, {"x": server}, 4, messages_per_minute=120):
        eventually(lambda: len(server.taken) == 4, 60, "all messages")
    # The pause begins when the answer is there, so it is never shorter where the call came in.
    assert all(after - before >= 0.45 for before, after in pairwise(calls))


@pytest.mark.parametrize("senders", [1, 3])
def test_a_target_that_hangs_delays_nobody_else_for_long(
    authority: Authority, server: WebhookServer, tmp_path: Path, senders: int
) -> None:
    with webhook_server(authority.server("localhost")) as stuck:
        stuck.answer = lambda _number: Answer(0)
        servers = {"a-stuck": stuck, "b-well": server}
        with sending(authority, tmp_path, servers, 30, senders=senders) as metrics:
            eventually(lambda: len(server.taken) == 30, 60, "all messages of the target that is well")
            labels = {"target": "a-stuck", "kind": "trouble"}
            name = "fraudengine_alert_attempts_failed_total"
            eventually(lambda: metrics.registry.get_sample_value(name, labels), 60, "a failure")
        # It was tried, and less and less often: 1 s each and pauses that double.
        assert 1 <= stuck.calls <= 10
        assert not stuck.taken
