"""Verdicts: label, alert and audit together or not at all, once however often somebody clicks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import psycopg
import pytest
from service_stack import Fresh
from store_rows import add_alerts, add_days, add_transactions, made_tables
from wire_messages import read_topic

from fraudengine.config import Settings, load
from fraudengine.errors import InputError, StoreError
from fraudengine.stores import BlockingStores, QueueFilter
from fraudengine.verdicts import BlockingVerdicts, Outcome

CARD = "4111 1111 1111 1111"
HOUR_MICROS = 3_600_000_000


@pytest.fixture
def settings(fresh: Fresh) -> Settings:
    made = fresh.settings({"kafka.labels_topic": fresh.topic("labels")})
    made_tables(made.postgres.url)
    add_days(made.postgres.url, date(2024, 3, 1), 1)
    add_alerts(
        made.postgres.url,
        "SELECT '2024-03-01 00:00+00'::timestamptz + make_interval(secs => n), 'a' || n, 'c1', 'm1', 'd1', "
        "2::smallint, 0.5::real, (1000 - n)::bigint, 'EUR' FROM generate_series(0, 19) AS n",
    )
    add_transactions(
        made.postgres.url,
        "VALUES ('2024-03-01 12:00+00'::timestamptz, 'approved', 'c2', 'm2', 1::smallint, 0.1::real)",
    )
    return made


@pytest.fixture
def stores(settings: Settings) -> Iterator[BlockingStores]:
    with BlockingStores(settings) as made:
        yield made


@pytest.fixture
def verdicts(settings: Settings, stores: BlockingStores) -> Iterator[BlockingVerdicts]:
    with BlockingVerdicts(settings, stores) as made:
        yield made


def labels(settings: Settings) -> list[Any]:
    """Return the labels in the topic."""
    return [each for _, each in read_topic(settings.kafka.brokers, settings.kafka.labels_topic, "Label")]


def open_ids(stores: BlockingStores) -> set[str]:
    return {each.transaction.transaction_id for each in stores.queue_page(QueueFilter(), 100).alerts}


def test_a_verdict_is_a_label_a_closed_alert_and_a_line_of_the_audit(
    settings: Settings, stores: BlockingStores, verdicts: BlockingVerdicts
) -> None:
    before = time.time_ns() // 1_000
    told = verdicts.decide(["a0"], is_fraud=True, actor="ann", note="called the customer", typology="ato")
    assert told == (Outcome("a0", "done", 0),)
    (label,) = labels(settings)
    keys = (label.transaction_id, label.customer_id, label.merchant_id, label.device_id)
    assert keys == ("a0", "c1", "m1", "d1")
    assert (label.amount_minor, label.currency, label.is_fraud, label.typology) == (1_000, "EUR", 2, "ato")
    assert (label.actor, label.source) == ("ann", 2)
    assert before <= label.label_known_time_micros <= time.time_ns() // 1_000
    alert = stores.alert("a0")
    assert alert is not None
    assert (alert.status, alert.verdict, alert.analyst, alert.note) == (
        "closed", "fraud", "ann", "called the customer",
    )  # fmt: skip
    (line,) = stores.audit(10, "a0")
    assert (line.actor, line.what, line.from_state, line.to_state) == ("ann", "verdict", "open", "fraud")
    assert (line.note, line.label_offset) == ("called the customer", 0)
    assert "a0" not in open_ids(stores)


def test_many_clicks_of_several_people_count_once(
    settings: Settings, stores: BlockingStores, verdicts: BlockingVerdicts
) -> None:
    with ThreadPoolExecutor(8) as clicks:
        told = list(
            clicks.map(lambda n: verdicts.decide(["a1"], is_fraud=True, actor=f"ann{n}")[0].state, range(8))
        )
    assert sorted(told) == ["already"] * 7 + ["done"]
    assert len(labels(settings)) == 1
    assert len(stores.audit(10, "a1")) == 1


def test_a_corrected_verdict_is_another_label_and_another_line(
    settings: Settings, stores: BlockingStores, verdicts: BlockingVerdicts
) -> None:
    verdicts.decide(["a2"], is_fraud=True, actor="ann")
    verdicts.decide(["a2"], is_fraud=False, actor="bob")
    assert [each.is_fraud for each in labels(settings)] == [2, 1]
    assert [(each.actor, each.from_state, each.to_state) for each in stores.audit(10, "a2")] == [
        ("bob", "fraud", "legitimate"),
        ("ann", "open", "fraud"),
    ]


def test_a_group_is_decided_in_one_go(
    settings: Settings, stores: BlockingStores, verdicts: BlockingVerdicts
) -> None:
    wanted = stores.queue_ids("customer_id", "c1", QueueFilter(), 1_000)
    verdicts.decide(wanted[:3], is_fraud=False, actor="ann")
    told = verdicts.decide([*wanted, "approved", "nowhere"], is_fraud=False, actor="ann")
    states = {each.transaction_id: each.state for each in told}
    assert [states[name] for name in wanted] == ["already"] * 3 + ["done"] * 17
    assert (states["approved"], states["nowhere"]) == ("done", "missing")
    assert len(labels(settings)) == 21
    (line,) = stores.audit(10, "approved")
    assert (line.from_state, line.to_state) == ("no alert", "legitimate")
    assert open_ids(stores) == set()


def test_a_snoozed_alert_is_away_until_its_time(stores: BlockingStores, verdicts: BlockingVerdicts) -> None:
    verdicts.decide(["a4"], is_fraud=True, actor="ann")
    until = time.time_ns() // 1_000 + HOUR_MICROS
    told = verdicts.snooze(["a3", "a4", "nowhere"], until, actor="ann", note="waits for the bank")
    assert [each.state for each in told] == ["done", "already", "missing"]
    assert open_ids(stores).isdisjoint({"a3", "a4"})
    (asleep,) = stores.queue_page(QueueFilter(state="snoozed"), 10).alerts
    assert (asleep.transaction.transaction_id, asleep.state.snoozed_until_micros) == ("a3", until)
    assert stores.queue_totals().snoozed == 1
    soon = time.time_ns() // 1_000 + 300_000
    verdicts.snooze(["a3"], soon, actor="ann")
    while "a3" not in open_ids(stores):
        assert time.time_ns() // 1_000 < soon + 10_000_000
    assert [each.to_state for each in stores.audit(10, "a3")] == ["snoozed", "snoozed"]


def test_a_note_is_kept_and_told(stores: BlockingStores, verdicts: BlockingVerdicts) -> None:
    assert verdicts.note("a5", "looks odd", actor="ann").state == "done"
    assert verdicts.note("a5", "looks odd", actor="ann").state == "already"
    alert = stores.alert("a5")
    assert alert is not None
    assert (alert.status, alert.note) == ("open", "looks odd")
    assert [each.note for each in stores.audit(5)] == ["looks odd"]


@pytest.mark.parametrize(
    ("actor", "note"),
    [("", None), ("ann", CARD), ("ann", f"seen {CARD.replace(' ', '')} twice"), ("ann", "x\0")],
)
def test_what_must_not_be_stored_is_refused(verdicts: BlockingVerdicts, actor: str, note: str | None) -> None:
    with pytest.raises(InputError):
        verdicts.decide(["a6"], is_fraud=True, actor=actor, note=note)


def test_without_a_broker_nothing_is_done(settings: Settings, stores: BlockingStores) -> None:
    away = _with(settings, {"kafka.brokers": "127.0.0.1:1"})
    with BlockingVerdicts(away, stores, seconds=2) as verdicts, pytest.raises(StoreError, match="kafka"):
        verdicts.decide(["a7"], is_fraud=True, actor="ann")
    assert stores.audit(10, "a7") == ()
    assert "a7" in open_ids(stores)


def test_a_database_that_cannot_commit_shows_nothing_as_done(
    settings: Settings, stores: BlockingStores
) -> None:
    with psycopg.connect(settings.postgres.url) as connection:
        connection.execute(
            "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION fails()"
        )
    with BlockingVerdicts(settings, stores) as verdicts:
        with pytest.raises(StoreError, match="postgres"):
            verdicts.decide(["a8"], is_fraud=True, actor="ann")
        assert "a8" in open_ids(stores)
        with psycopg.connect(settings.postgres.url) as connection:
            connection.execute("DROP TRIGGER fails ON audit")
        assert verdicts.decide(["a8"], is_fraud=True, actor="ann")[0].state == "done"
    # The first label was sent before the database was gone: it comes twice and counts once.
    assert [each.transaction_id for each in labels(settings)] == ["a8", "a8"]
    assert len(stores.audit(10, "a8")) == 1


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_audit_only_grows(settings: Settings, verdicts: BlockingVerdicts, change: Any) -> None:
    verdicts.note("a9", "kept", actor="ann")
    with (
        psycopg.connect(settings.postgres.url) as connection,
        pytest.raises(psycopg.Error, match="only grows"),
    ):
        connection.execute(change)


def _with(settings: Settings, changed: dict[str, object]) -> Settings:
    return load(flags={"postgres.url": settings.postgres.url, "redis.url": settings.redis.url, **changed})
