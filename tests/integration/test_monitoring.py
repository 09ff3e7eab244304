"""The services beside scoring, over a real stream with its stores: what they tell, and what they refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import psycopg
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from live_service import LiveService, ask, invalid_field, live_service, refused
from scoring_server import call, details, running
from service_stack import Fresh
from small_bundle import small_bundle
from small_history import small_history
from stream_process import eventually

from fraudengine import _native, services
from fraudengine.training import BoosterOptions, ForestOptions
from fraudengine.wire.label_pb2 import LabelSource, Verdict
from fraudengine.wire.monitoring_pb2 import AlertStatus
from fraudengine.wire.scoring_pb2 import ScoreRequest
from fraudengine.wire.transaction_pb2 import Transaction

DAYS, ROWS = 30, 1_800
CARD = "4111 1111 1111 1111"
_GET, _LIST = "MonitoringService/GetTransaction", "MonitoringService/ListTransactions"
_LABEL, _PROFILE = "LabelService/SubmitLabel", "MonitoringService/GetUserRiskProfile"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(small_history(), tmp_path_factory.mktemp("bundle") / "model", booster, forest)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    """Return transactions of the last days with their labels, the newest of them now."""
    frame = small_history(days=DAYS, per_day=ROWS // DAYS)
    last = frame["event_time"].dt.epoch("us").max()
    assert isinstance(last, int)
    moved = timedelta(microseconds=time.time_ns() // 1_000 - last)
    return frame.with_columns(pl.col("event_time", "label_known_time") + moved)


@pytest.fixture(scope="module")
def live(
    stack: services.Stack, bundle: Path, history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveService]:
    fresh = Fresh(stack)
    more = {"redis.profiles_per_second_max": 1_000_000}
    with live_service(fresh, bundle, tmp_path_factory.mktemp("live"), more) as made:
        made.topics.send(history)
        made.stream.await_decisions(ROWS)
        eventually(lambda: _shown(made) == (ROWS, ROWS), 30, "all decisions in both stores")
        yield made
    fresh.drop_databases()


@pytest.fixture(scope="module")
def decided(live: LiveService) -> list[Any]:
    """Return what the log holds of the history."""
    return [record for _, record in live.topics.decisions()]


def _shown(live: LiveService) -> tuple[int, int]:
    stats = ask(live.channel, "MonitoringService/GetStats")
    done = [each.next_offset > 0 and each.records == 0 for each in stats.lags]
    return stats.total.transactions, ROWS if len(done) == 3 and all(done) else 0


def test_stats_add_up(live: LiveService, decided: list[Any]) -> None:
    stats = ask(live.channel, "MonitoringService/GetStats", minutes=60)
    for told in (stats.recent, stats.total):
        assert told.transactions == told.approved + told.reviewed + told.blocked == ROWS
        assert told.transactions_per_second == pytest.approx(ROWS / told.seconds)
        assert told.fraud_rate == pytest.approx(told.review_rate + told.block_rate)
    stopped = sum(each.transaction.amount_minor for each in decided if each.action == 3)
    assert sum(each.amount_minor for each in stats.total.stopped) == stopped
    assert [each.currency for each in stats.total.held] in (["EUR"], [])
    assert stats.total_latency.count == ROWS
    assert 0 <= stats.recent_latency.p50_micros <= stats.recent_latency.p999_micros
    assert stats.total_latency.p50_micros > 0
    lags = {each.writer: each for each in stats.lags}
    assert set(lags) == {"redis", "postgres", "postgres-labels"}
    assert all(each.HasField("records") and each.records == 0 for each in lags.values())
    assert lags["redis"].next_offset == lags["postgres"].next_offset > ROWS


def test_a_transaction_is_told_as_it_was_decided(
    live: LiveService, decided: list[Any], history: pl.DataFrame
) -> None:
    flagged = next(record for record in decided if record.action != 1)
    approved = next(record for record in decided if record.action == 1)
    names = [name for name, *_ in _native.catalogue_features()]
    for record in (flagged, approved):
        for hint in ({}, {"event_time_micros": record.transaction.event_time_micros}):
            told = ask(
                live.channel,
                "MonitoringService/GetTransaction",
                transaction_id=record.transaction.transaction_id,
                **hint,
            ).transaction
            assert told.transaction == record.transaction
            assert (told.score, told.action, told.model) == (record.score, record.action, record.model)
            assert [each.feature for each in told.reasons] == [each.feature for each in record.reasons]
            assert [each.feature for each in told.features] == names
            values = [each.value if each.HasField("value") else None for each in told.features]
            assert values == [each if each == each else None for each in record.features]
            assert told.source_offset == record.source_offset
            assert told.HasField("alert") == (record.action != 1)
            (labelled,) = history.filter(transaction_id=record.transaction.transaction_id).to_dicts()
            assert told.label.verdict == labelled["is_fraud"] + 1
            typology = told.label.typology if told.label.HasField("typology") else None
            assert typology == labelled["typology"]
            known = labelled["label_known_time"].timestamp()
            assert told.label.known_time_micros == pytest.approx(known * 1e6, abs=1)


def _pages(live: LiveService, **fields: Any) -> list[Any]:
    """Return the transactions of all pages."""
    found: list[Any] = []
    token = ""
    while True:
        page = ask(live.channel, _LIST, page_token=token, **fields)
        found += [each.transaction for each in page.transactions]
        token = page.next_page_token
        if not token:
            return found


def test_pages_have_every_transaction_once_newest_first(live: LiveService, history: pl.DataFrame) -> None:
    found = _pages(live, page_size=77)
    keys = [(each.event_time_micros, each.transaction_id) for each in found]
    assert keys == sorted(keys, reverse=True)
    assert {name for _, name in keys} == set(history["transaction_id"])
    assert len(keys) == ROWS


def _time_of(record: Any) -> int:
    micros: int = record.transaction.event_time_micros
    return micros


def _cases(decided: list[Any]) -> list[tuple[dict[str, Any], Callable[[Any], bool]]]:
    """Return conditions that one flagged transaction fulfils, each with what it means; the last is all."""
    times = sorted(map(_time_of, decided))
    low, high = times[ROWS // 4], times[3 * ROWS // 4]
    flagged = next(each for each in decided if each.action != 1 and low <= _time_of(each) < high)
    merchant, customer = flagged.transaction.merchant_id, flagged.transaction.customer_id
    cases: list[tuple[dict[str, Any], Callable[[Any], bool]]] = [
        ({"merchant_id": merchant}, lambda each: each.transaction.merchant_id == merchant),
        ({"customer_id": customer}, lambda each: each.transaction.customer_id == customer),
        ({"actions": [2, 3]}, lambda each: each.action != 1),
        ({"score_min": flagged.score}, lambda each: each.score >= flagged.score),
        ({"score_max": flagged.score}, lambda each: each.score <= flagged.score),
        ({"from_micros": low, "to_micros": high}, lambda each: low <= _time_of(each) < high),
    ]
    together = {name: value for fields, _ in cases for name, value in fields.items()}
    return [*cases, (together, lambda each: all(holds(each) for _, holds in cases))]


def test_filters_hold_together(live: LiveService, decided: list[Any]) -> None:
    for fields, holds in _cases(decided):
        expected = {each.transaction.transaction_id for each in decided if holds(each)}
        assert expected, fields
        found = [each.transaction_id for each in _pages(live, page_size=500, **fields)]
        assert len(found) == len(expected), fields
        assert set(found) == expected, fields


def test_a_customer_is_known(live: LiveService, decided: list[Any], history: pl.DataFrame) -> None:
    flagged = [record for record in decided if record.action != 1][-1]
    customer = flagged.transaction.customer_id
    told = ask(live.channel, _PROFILE, customer_id=customer, history_size=100)
    own = history.filter(pl.col("customer_id") == customer)
    own = own.sort("event_time", "transaction_id", descending=True)
    assert [each.transaction.transaction_id for each in told.history] == own["transaction_id"].to_list()
    assert flagged.transaction.transaction_id in {each.transaction.transaction_id for each in told.alerts}
    assert told.profile.transactions == len(own)
    assert told.profile.flagged == len(told.alerts)
    assert told.profile.last_seen_micros == told.history[0].transaction.event_time_micros
    assert list(told.profile.last_reasons) == [each.feature for each in told.alerts[0].reasons]
    assert not told.windows, "this service decides for itself, and nobody has asked it"


def test_the_windows_of_a_customer_are_those_of_the_engine(live: LiveService) -> None:
    now = time.time_ns() // 1_000
    for number in range(3):
        asked = Transaction(
            transaction_id=f"w{number}",
            event_time_micros=now + number,
            customer_id="asked-here",
            merchant_id=f"m{number % 2}",
            amount_minor=1_050,
        )
        call(live.channel, "Score", ScoreRequest(transaction=asked).SerializeToString())
    told = ask(live.channel, _PROFILE, customer_id="asked-here").windows
    windows = {each.feature: each.value if each.HasField("value") else None for each in told}
    assert windows["customer_count_1h"] == windows["customer_count_30d"] == 3
    assert windows["customer_sum_24h"] == pytest.approx(31.5)
    assert windows["customer_merchants_24h"] == 2
    assert windows["customer_days_since_fraud"] is None
    assert set(windows) < {name for name, *_ in _native.catalogue_features()}


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("MonitoringService/GetTransaction", {"transaction_id": "unknown"}),
        ("MonitoringService/GetTransaction", {"transaction_id": "t5", "event_time_micros": 10**15}),
        ("MonitoringService/GetUserRiskProfile", {"customer_id": "unknown"}),
        ("LabelService/SubmitLabel", {"transaction_id": "unknown", "verdict": 2}),
    ],
)
def test_what_is_not_there_is_not_found(method: str, fields: dict[str, Any], live: LiveService) -> None:
    error = refused(live.channel, method, **fields)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert ErrorInfo.FromString(details(error)["ErrorInfo"]).reason == "NOT_FOUND"


_TX = {"event_time_micros": 1_700_000_000_000_000, "customer_id": "c1", "amount_minor": 1}


@pytest.mark.parametrize(
    ("method", "fields", "field", "reason"),
    [
        (_GET, {}, "transaction_id", "MISSING"),
        (_GET, {"transaction_id": "x" * 129}, "transaction_id", "TOO_LONG"),
        (_GET, {"transaction_id": "a\0b"}, "transaction_id", "CONTROL_CHARACTER"),
        (_GET, {"transaction_id": CARD}, "transaction_id", "CARD_NUMBER"),
        (_GET, {"transaction_id": "t", "event_time_micros": 5}, "event_time_micros", "TIME_OUT_OF_RANGE"),
        ("MonitoringService/GetStats", {"minutes": 1_441}, "minutes", "OUT_OF_RANGE"),
        ("MonitoringService/GetStats", {"minutes": -1}, "minutes", "OUT_OF_RANGE"),
        (_LIST, {"page_size": 501}, "page_size", "OUT_OF_RANGE"),
        (_LIST, {"page_token": "!"}, "page_token", "UNKNOWN"),
        (_LIST, {"page_token": "e30="}, "page_token", "UNKNOWN"),
        (_LIST, {"customer_id": ""}, "customer_id", "MISSING"),
        (_LIST, {"merchant_id": CARD}, "merchant_id", "CARD_NUMBER"),
        (_LIST, {"actions": [1, 9]}, "actions", "UNKNOWN"),
        (_LIST, {"actions": [1] * 4}, "actions", "COUNT"),
        (_LIST, {"score_min": 1.5}, "score_min", "OUT_OF_RANGE"),
        (_LIST, {"score_max": float("nan")}, "score_max", "OUT_OF_RANGE"),
        (_LIST, {"score_min": 0.5, "score_max": 0.25}, "score_max", "OUT_OF_RANGE"),
        (_LIST, {"from_micros": 10**15, "to_micros": 10**15}, "to_micros", "OUT_OF_RANGE"),
        (_PROFILE, {"customer_id": CARD}, "customer_id", "CARD_NUMBER"),
        (_PROFILE, {"customer_id": "c", "history_size": 101}, "history_size", "OUT_OF_RANGE"),
        (_LABEL, {"transaction_id": "t"}, "verdict", "MISSING"),
        (_LABEL, {"transaction_id": "t", "verdict": 7}, "verdict", "UNKNOWN"),
        (_LABEL, {"transaction_id": "t", "verdict": 2, "source": 9}, "source", "UNKNOWN"),
        (_LABEL, {"transaction_id": "t", "verdict": 2, "actor": CARD}, "actor", "CARD_NUMBER"),
        (_LABEL, {"transaction_id": "t", "verdict": 2, "typology": ""}, "typology", "MISSING"),
        (
            _LABEL,
            {"transaction_id": "t5", "verdict": 2, "known_time_micros": 10**15},
            "known_time_micros",
            "OUT_OF_RANGE",
        ),
        (
            _LABEL,
            {"transaction_id": "t", "verdict": 2, "transaction": {**_TX, "transaction_id": "u"}},
            "transaction.transaction_id",
            "OTHER",
        ),
        (
            _LABEL,
            {"transaction_id": "t", "verdict": 2, "transaction": {**_TX, "amount_minor": -1}},
            "transaction.amount_minor",
            "OUT_OF_RANGE",
        ),
        (
            _LABEL,
            {"transaction_id": "t", "verdict": 2, "transaction": {**_TX, "card_id": CARD}},
            "transaction.card_id",
            "CARD_NUMBER",
        ),
    ],
)
def test_a_wrong_field_is_named(
    method: str, fields: dict[str, Any], field: str, reason: str, live: LiveService
) -> None:
    error = refused(live.channel, method, **fields)
    assert invalid_field(error) == (field, reason)
    assert "411111" not in f"{error.details()}{details(error)}"


def test_a_token_is_for_its_own_conditions(live: LiveService) -> None:
    first = ask(live.channel, _LIST, page_size=5)
    error = refused(live.channel, _LIST, page_size=5, page_token=first.next_page_token, actions=[1])
    assert invalid_field(error) == ("page_token", "UNKNOWN")


@pytest.mark.parametrize("method", [_GET, _LIST, _PROFILE, _LABEL, "MonitoringService/GetStats"])
def test_bytes_that_are_no_message_are_refused(method: str, live: LiveService) -> None:
    assert invalid_field(refused(live.channel, method, b"\xff\xff")) == ("", "MALFORMED")


def test_a_label_by_id_is_filled_in_and_shown(live: LiveService, decided: list[Any]) -> None:
    record = decided[10].transaction
    analyst = LabelSource.LABEL_SOURCE_ANALYST
    fields: dict[str, Any] = {
        "transaction_id": record.transaction_id,
        "source": analyst,
        "actor": "ann",
    }
    first = ask(live.channel, _LABEL, verdict=Verdict.VERDICT_FRAUD, **fields)
    assert first.label.merchant_id == record.merchant_id
    assert first.label.event_time_micros == record.event_time_micros
    assert (first.label.actor, first.label.source) == ("ann", analyst)
    again = ask(live.channel, _LABEL, verdict=Verdict.VERDICT_LEGITIMATE, **fields)
    assert again.label_offset == first.label_offset + 1

    def verdict() -> object:
        told = ask(live.channel, _GET, transaction_id=record.transaction_id).transaction
        return told.label.verdict if told.HasField("label") else None

    eventually(lambda: verdict() == Verdict.VERDICT_LEGITIMATE, 10, "the corrected label")


def test_a_label_closes_the_alert_and_is_audited(live: LiveService, decided: list[Any]) -> None:
    flagged = next(record.transaction.transaction_id for record in decided if record.action > 1)
    fields: dict[str, Any] = {"transaction_id": flagged, "source": LabelSource.LABEL_SOURCE_CHARGEBACK}
    told = ask(live.channel, _LABEL, verdict=Verdict.VERDICT_FRAUD, **fields)
    again = ask(live.channel, _LABEL, verdict=Verdict.VERDICT_FRAUD, **fields)
    assert (told.recorded, again.recorded) == (True, True)
    assert again.label_offset > told.label_offset
    alert = ask(live.channel, _GET, transaction_id=flagged).transaction.alert
    closed = AlertStatus.ALERT_STATUS_CLOSED
    assert (alert.status, alert.verdict, alert.analyst) == (closed, Verdict.VERDICT_FRAUD, "chargeback")
    with psycopg.connect(str(live.settings["postgres.url"])) as connection:
        query = "SELECT actor, from_state, to_state, label_offset FROM audit WHERE transaction_id = %s"
        lines = connection.execute(query, (flagged,)).fetchall()
    assert lines == [("chargeback", "open", "fraud", told.label_offset)]


def test_a_label_changes_features_within_two_seconds(live: LiveService, history: pl.DataFrame) -> None:
    merchant = "m-labelled"

    def send(name: str) -> float:
        at = pl.lit(time.time_ns() // 1_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        row = history.tail(1).with_columns(
            transaction_id=pl.lit(name), merchant_id=pl.lit(merchant), event_time=at
        )
        live.topics.send(row, labels=False)
        return time.monotonic()

    def rate(name: str) -> list[float]:
        """Return the known fraud rate at the merchant when this was decided; empty: not shown yet."""
        page = ask(live.channel, _LIST, merchant_id=merchant, page_size=500)
        if name not in {each.transaction.transaction_id for each in page.transactions}:
            return []
        told = ask(live.channel, _GET, transaction_id=name).transaction
        return [each.value for each in told.features if each.feature == "merchant_fraud_rate_30d"]

    send("first")
    eventually(lambda: rate("first"), 20, "the first transaction in PostgreSQL")
    label = ask(live.channel, _LABEL, transaction_id="first", verdict=Verdict.VERDICT_FRAUD).label
    answered = time.monotonic()
    assert label.merchant_id == merchant
    for number in range(1_000):
        sent = send(f"after-{number}")
        assert sent < answered + 2, "the label is in no feature after 2 s"
        eventually(partial(rate, f"after-{number}"), 20, "a later transaction in PostgreSQL")
        if rate(f"after-{number}") > [0.0]:
            return


def test_a_label_with_its_transaction_needs_no_store(bundle: Path, fresh: Fresh, live: LiveService) -> None:
    off = {**live.settings, "postgres.enabled": False, "redis.enabled": False}
    fields: dict[str, Any] = {"transaction_id": "elsewhere", "verdict": 1}
    with running(bundle, off) as server, grpc.insecure_channel(server.address) as channel:
        assert invalid_field(refused(channel, _LABEL, **fields)) == ("transaction", "MISSING")
        told = ask(channel, _LABEL, transaction=_TX, **fields)
        assert (told.label.transaction_id, told.label.customer_id) == ("elsewhere", "c1")
        assert not told.recorded
        for method in (_GET, _LIST):
            told_id: dict[str, Any] = {"transaction_id": "t"} if method == _GET else {}
            error = refused(channel, method, **told_id)
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "postgres.enabled is false" in error.details()
        error = refused(channel, "MonitoringService/GetStats")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert ErrorInfo.FromString(details(error)["ErrorInfo"]).reason == "REDIS_DISABLED"
