"""The live feeds as streams: what readers get, what slow ones are told, and that nobody waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from live_service import ask, invalid_field, watch
from scoring_server import details, running
from service_stack import Fresh
from small_bundle import small_bundle
from small_history import small_history
from store_rows import feed_entry, publish
from stream_process import eventually

from fraudengine import services
from fraudengine.serving.metrics import Metrics
from fraudengine.training import BoosterOptions, ForestOptions

FEED, ALERTS = "fraud:feed", "fraud:alerts"
WATCH, WATCH_ALERTS = "MonitoringService/WatchTransactions", "MonitoringService/WatchAlerts"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), tmp_path_factory.mktemp("bundle") / "model", booster, forest)


class Served:
    """A service over a Redis of its own."""

    def __init__(self, url: str, address: str, channel: grpc.Channel, metrics: Metrics) -> None:
        self.url = url
        self.address = address
        self.channel = channel
        self.metrics = metrics

    def counted(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def served(bundle: Path, fresh: Fresh) -> Iterator[Served]:
    url = fresh.redis()
    settings = {"postgres.enabled": False, "redis.url": url, "serve.watch_queue_max": 500}
    with (
        running(bundle, {**settings, "serve.watchers_max": 3}) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield Served(url, server.address, channel, server.metrics)


def test_readers_get_what_they_ask_for(served: Served) -> None:
    everything = watch(served.channel, WATCH)
    alerts = watch(served.channel, WATCH_ALERTS)
    wanted = {"customer_id": "c2", "merchant_id": "m1", "actions": [3], "score_min": 0.5}
    some = watch(served.channel, WATCH, filter=wanted)
    rows = [
        feed_entry("a", customer_id="c2", action="block", score=0.5),
        feed_entry("b", customer_id="c2", action="block", score=0.4),
        feed_entry("c", customer_id="c2", action="review"),
        feed_entry("d", action="block"),
        feed_entry("e", customer_id="c2", action="block", merchant_id=None),
        feed_entry("f", customer_id="c2", action="block", score=None, flags=8, channel="moto"),
        feed_entry("g", customer_id="c2", action="block", score=0.9, flags=6),
    ]
    cursors = publish(served.url, FEED, *rows)
    publish(served.url, ALERTS, feed_entry("x"))
    told = [next(everything) for _ in rows]
    assert [each.decision.transaction_id for each in told] == list("abcdefg")
    assert [each.cursor for each in told] == cursors
    assert not any(each.gap for each in told)
    without_model = told[5].decision
    assert (without_model.HasField("score"), list(without_model.degraded_reasons)) == (False, [3])
    assert without_model.channel == 4
    assert list(told[6].decision.degraded_reasons) == [1, 2]
    assert [next(some).decision.transaction_id for _ in range(2)] == ["a", "g"]
    (reason,) = next(alerts).decision.reasons
    assert (reason.feature, reason.contribution, reason.HasField("value")) == ("hour", 0.25, False)
    for answers in (everything, alerts, some):
        answers.cancel()
    eventually(
        lambda: served.counted("fraudengine_grpc_watchers", method="WatchTransactions") == 0, 10, "no reader"
    )


def test_a_cursor_goes_on_behind_it(served: Served) -> None:
    cursors = publish(served.url, FEED, *(feed_entry(f"t{number}") for number in range(2_500)))
    answers = watch(served.channel, WATCH, cursor=cursors[9])
    publish(served.url, FEED, feed_entry("new"))
    told = [next(answers) for _ in range(2_491)]
    names = [each.decision.transaction_id for each in told]
    assert names == [*(f"t{number}" for number in range(10, 2_500)), "new"]
    assert not any(each.gap for each in told)
    answers.cancel()
    late = watch(served.channel, WATCH, cursor="5-0")
    assert [next(late).gap for _ in range(2)] == [True, False]
    late.cancel()


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", f"{2**64}-0", "9" * 60 + "-0", "\u00b2-1"])
def test_a_wrong_cursor_is_refused(cursor: str, served: Served) -> None:
    answers = watch(served.channel, WATCH, cursor=cursor)
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert invalid_field(caught.value) == ("cursor", "UNKNOWN")


def test_a_wrong_filter_is_refused(served: Served) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"customer_id": "4111111111111111"}, "filter.customer_id"),
        ({"actions": [0]}, "filter.actions"),
        ({"score_min": -0.5}, "filter.score_min"),
    ]
    for told, field in cases:
        answers = watch(served.channel, WATCH, filter=told)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert invalid_field(caught.value)[0] == field
        assert "4111" not in str(caught.value.details())


def test_a_slow_reader_is_dropped_and_a_fast_one_goes_on(served: Served) -> None:
    # A window of 64 KiB that does not grow: a reader that does not read is noticed soon.
    narrow = grpc.insecure_channel(served.address, [("grpc.http2.bdp_probe", 0)])
    slow = watch(narrow, WATCH_ALERTS)
    fast = watch(served.channel, WATCH_ALERTS)
    sent = 0
    dropped = "fraudengine_grpc_watchers_dropped_total"
    deadline = time.monotonic() + 30
    while not served.counted(dropped, method="WatchAlerts"):
        assert time.monotonic() < deadline, "the slow reader is not dropped"
        publish(served.url, ALERTS, *(feed_entry(f"t{sent + number}") for number in range(100)))
        for number in range(100):
            assert next(fast).decision.transaction_id == f"t{sent + number}"
        sent += 100
    (behind,) = publish(served.url, ALERTS, feed_entry("after"))
    assert next(fast).cursor == behind
    read = []
    with pytest.raises(grpc.RpcError) as caught:
        read.extend(slow)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ErrorInfo.FromString(details(caught.value)["ErrorInfo"]).reason == "READER_TOO_SLOW"
    fast.cancel()
    narrow.close()


def test_too_many_readers_are_turned_away(served: Served) -> None:
    readers = [watch(served.channel, WATCH) for _ in range(3)]
    one_more = watch(served.channel, WATCH)
    with pytest.raises(grpc.RpcError) as caught:
        next(one_more)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ErrorInfo.FromString(details(caught.value)["ErrorInfo"]).reason == "WATCHERS_MAX"
    readers[0].cancel()
    eventually(
        lambda: served.counted("fraudengine_grpc_watchers", method="WatchTransactions") == 2, 10, "a place"
    )
    again = watch(served.channel, WATCH)
    (cursor,) = publish(served.url, FEED, feed_entry("t"))
    assert [next(each).cursor for each in (again, *readers[1:])] == [cursor] * 3
    for each in (again, *readers[1:]):
        each.cancel()


def test_the_feeds_end_with_redis_and_come_back(bundle: Path, services_folder: Path) -> None:
    settings = {"postgres.enabled": False, "embedded.folder": services_folder}
    with (
        running(bundle, settings) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        answers = watch(channel, WATCH)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        _is_away(caught.value)
        embedded = _embedded(settings)
        for _ in range(2):
            url = services.up(embedded, only=("redis",)).redis_url
            assert ask(channel, "MonitoringService/GetStats").total.transactions == 0
            answers = watch(channel, WATCH)
            (cursor,) = publish(url, FEED, feed_entry("t"))
            assert next(answers).cursor == cursor
            services.down(services_folder, only=("redis",))
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            _is_away(caught.value)
            with pytest.raises(grpc.RpcError) as caught:
                ask(channel, "MonitoringService/GetStats")
            _is_away(caught.value)


def _embedded(settings: dict[str, Any]) -> Any:
    from fraudengine.config import load

    return load(flags=settings).embedded


def _is_away(error: grpc.RpcError) -> None:
    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
    told = details(error)
    assert ErrorInfo.FromString(told["ErrorInfo"]).reason == "REDIS_UNAVAILABLE"
    assert RetryInfo.FromString(told["RetryInfo"]).retry_delay.seconds == 1
