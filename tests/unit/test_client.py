"""The client without a server: conversions, what a failure means, settings, and the examples of its texts."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fraudengine
from fraudengine.client import NoAnswer, Tls, Transaction, asynchronous, blocking, by_amount, no_answer
from fraudengine.client import transaction as transaction_module
from fraudengine.client.batches import Batch, batches
from fraudengine.client.connection import Connection
from fraudengine.client.no_answer import without_answer
from fraudengine.client.results import decision_of
from fraudengine.client.transaction import as_transaction, to_message
from fraudengine.engine import Action
from fraudengine.errors import ConfigError, InvalidTransactionError, NoAnswerError, RefusedError
from fraudengine.schema import AMOUNT_MINOR_MAX, CHANNELS, COLUMNS
from fraudengine.wire.decision_pb2 import Decision as DecisionMessage
from fraudengine.wire.transaction_pb2 import Channel

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOON_MICROS = 1_735_732_800_000_000
FULL: dict[str, Any] = {
    "transaction_id": "t1",
    "event_time": NOON,
    "customer_id": "c1",
    "card_id": "k1",
    "device_id": "d1",
    "merchant_id": "m1",
    "ip_address": "a1",
    "amount_minor": 1_999,
    "currency": "EUR",
    "channel": "ecommerce",
    "merchant_category": 5_411,
    "country": "DE",
    "latitude": 52.5,
    "longitude": 13,
}
LEAST = {name: FULL[name] for name in ("transaction_id", "event_time", "customer_id", "amount_minor")}


def test_every_field_of_the_schema_travels() -> None:
    assert set(FULL) == {column.name for column in COLUMNS if not column.label}
    message = to_message(as_transaction(FULL))
    told = {field.name: value for field, value in message.ListFields()}
    assert told == {
        **{name: value for name, value in FULL.items() if name != "event_time"},
        "event_time_micros": NOON_MICROS,
        "channel": Channel.CHANNEL_ECOMMERCE,
    }
    assert message == to_message(Transaction(**FULL))
    absent = [field.name for field, _ in to_message(as_transaction(LEAST)).ListFields()]
    assert absent == ["transaction_id", "event_time_micros", "customer_id", "amount_minor"]


def test_channels_have_the_numbers_of_the_definition() -> None:
    for name in CHANNELS:
        message = to_message(as_transaction({**LEAST, "channel": name}))
        assert Channel.Name(message.channel) == f"CHANNEL_{name.upper()}"


@pytest.mark.parametrize(
    "told",
    [
        NOON,
        datetime(2025, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        "2025-01-01T12:00:00Z",
        "2025-01-01T07:00:00-05:00",
        NOON_MICROS,
    ],
)
def test_a_time_is_the_same_however_it_is_told(told: Any) -> None:
    assert to_message(as_transaction({**LEAST, "event_time": told})).event_time_micros == NOON_MICROS


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.timezones()))
def test_times_keep_their_microseconds(moment: datetime) -> None:
    micros = to_message(as_transaction({**LEAST, "event_time": moment})).event_time_micros
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros) == moment.astimezone(UTC)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from([("EUR", 2), ("JPY", 0), ("KWD", 3)]))
def test_major_units_become_the_very_minor_units(minor: int, currency: tuple[str, int]) -> None:
    code, digits = currency
    major = Decimal(minor).scaleb(-digits)
    for amount in (major, str(major)):
        paid = Transaction(transaction_id="t", event_time=0, customer_id="c", amount=amount, currency=code)
        assert (paid.amount_minor, paid.amount) == (minor, None)


REFUSED = [
    ({"amount_minor": None}, "amount_minor", "missing"),
    ({"amount": "1"}, "amount", "count"),
    ({"amount_minor": None, "amount": Decimal("12.345"), "currency": "EUR"}, "amount", "amount_malformed"),
    ({"amount_minor": None, "amount": Decimal("12.3400000000000001"), "currency": "EUR"}, "amount", None),
    ({"amount_minor": None, "amount": Decimal("NaN"), "currency": "EUR"}, "amount", "amount_malformed"),
    ({"amount_minor": None, "amount": 12.34, "currency": "EUR"}, "amount", "type"),
    ({"amount_minor": None, "amount": True, "currency": "EUR"}, "amount", "type"),
    ({"amount_minor": None, "amount": "12.34"}, "currency", "missing"),
    ({"amount_minor": None, "amount": "12.34", "currency": "euro"}, "currency", "currency_malformed"),
    ({"amount_minor": 12.0}, "amount_minor", "type"),
    ({"amount_minor": 1 << 63}, "amount_minor", "out_of_range"),
    ({"merchant_category": True}, "merchant_category", "type"),
    ({"transaction_id": None}, "transaction_id", "missing"),
    ({"transaction_id": 7}, "transaction_id", "type"),
    ({"customer_id": "\ud800"}, "customer_id", "utf8"),
    ({"card_id": 4_111_111_111_111_111}, "card_id", "type"),
    ({"event_time": datetime(2025, 1, 1)}, "event_time", "time_without_zone"),
    ({"event_time": "2025-01-01T12:00:00"}, "event_time", "time_without_zone"),
    ({"event_time": "yesterday"}, "event_time", "time_malformed"),
    ({"event_time": 1.5}, "event_time", "type"),
    ({"event_time": 1 << 70}, "event_time", "time_out_of_range"),
    ({"channel": "fax"}, "channel", "channel_unknown"),
    ({"channel": ["atm"]}, "channel", "channel_unknown"),
    ({"latitude": "52"}, "latitude", "type"),
    ({"colour": "red"}, "", "field_unknown"),
]


@pytest.mark.parametrize(("fields", "field", "code"), REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(
    fields: dict[str, Any], field: str, code: str | None
) -> None:
    with pytest.raises(RefusedError) as caught:
        to_message(as_transaction({**LEAST, **fields}))
    assert isinstance(caught.value, InvalidTransactionError)
    assert caught.value.field == field
    assert code in (None, caught.value.code)
    assert "4111" not in str(caught.value)
    assert field in str(caught.value)


def test_a_thing_that_is_no_transaction_is_refused() -> None:
    wrong: Any = ["t1"]
    with pytest.raises(RefusedError, match="must be a Transaction or a mapping, is of type list"):
        as_transaction(wrong)


def test_a_decision_has_no_protobuf_in_it_and_cannot_be_changed() -> None:
    message = DecisionMessage(
        transaction_id="t1",
        event_time_micros=NOON_MICROS,
        score=0.5,
        action="ACTION_BLOCK",
        reasons=[
            {"feature": "f", "value": 2.0, "contribution": 0.5},
            {"feature": "g", "contribution": 0.25},
        ],
        degraded=True,
        degraded_reasons=["DEGRADED_REASON_LATE"],
        model=0xAB << 56,
        decided_time_micros=NOON_MICROS + 1,
    )
    decision = decision_of(message)
    assert (decision.action, decision.score, decision.degraded) == (Action.BLOCK, 0.5, ("late",))
    assert [(each.feature, each.value) for each in decision.reasons] == [("f", 2.0), ("g", None)]
    assert (decision.event_time, decision.model) == (NOON, "ab00000000000000")
    assert decision.decided_time == NOON + timedelta(microseconds=1)
    assert decision.answered
    with pytest.raises(FrozenInstanceError):
        decision.action = Action.APPROVE  # type: ignore[misc]  # what is tested


def test_what_a_newer_service_says_is_never_an_approval() -> None:
    newer = DecisionMessage.FromString(
        DecisionMessage(transaction_id="t1", score=float("nan")).SerializeToString() + b"\x20\x63\x3a\x01\x63"
    )
    decision = decision_of(newer)
    assert (decision.action, decision.score, decision.degraded) == (Action.REVIEW, None, ("reason_99",))
    assert decision_of(DecisionMessage()).action is Action.REVIEW
    assert decision_of(DecisionMessage(degraded=True)).degraded == ("unspecified",)


def test_without_an_answer_the_setting_says_what_to_do() -> None:
    error = NoAnswerError("UNAVAILABLE: away", status="UNAVAILABLE")
    paid = as_transaction({**LEAST, "currency": "EUR"})
    with pytest.raises(NoAnswerError):
        without_answer(NoAnswer.RAISE, paid, error)
    for setting, action in ((NoAnswer.REVIEW, Action.REVIEW), (NoAnswer.BLOCK, Action.BLOCK)):
        decision = without_answer(setting, paid, error)
        assert (decision.action, decision.answered, decision.degraded) == (action, False, ("no_answer",))
        assert (decision.no_answer, decision.score) == (error, None)
    wrong: Any = lambda _: "approve"  # noqa: E731 - short and wrong on purpose
    with pytest.raises(ConfigError, match="on_no_answer returned 'approve'"):
        without_answer(wrong, paid, error)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "action"),
    [
        (4_999, "EUR", Action.APPROVE),
        (5_000, "EUR", Action.BLOCK),
        (4_999, "USD", Action.BLOCK),
        (4_999, None, Action.BLOCK),
        (-1, "EUR", Action.BLOCK),
    ],
)
def test_by_amount_counts_what_it_cannot_compare_as_large(
    amount_minor: int, currency: str | None, action: Action
) -> None:
    rule = by_amount(5_000, below=Action.APPROVE, above=Action.BLOCK, currency="EUR")
    assert rule(as_transaction({**LEAST, "amount_minor": amount_minor, "currency": currency})) is action


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"timeout_seconds": 0}, "timeout_seconds is 0, must be above 0"),
        ({"batch_timeout_seconds": float("nan")}, "batch_timeout_seconds is nan"),
        ({"retries": 5}, "retries is 5, must be 0 to 4"),
        ({"on_no_answer": "approve"}, "on_no_answer is 'approve'"),
        ({"token": "secret"}, r"the token would go to 192\.0\.2\.1:50051 in plain text"),
    ],
)
def test_settings_out_of_range_are_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Connection(address="192.0.2.1:50051", **told)


def test_a_token_stays_on_loopback_unless_told_otherwise() -> None:
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "dns:///localhost:1", "unix:/run/f.sock"):
        told = Connection(address=address, token="secret")
        assert told.metadata() == (("authorization", "Bearer secret"),)
        assert "secret" not in repr(told)
    assert Connection(address="192.0.2.1:1", token="secret", tls=Tls()).tls
    assert Connection(address="192.0.2.1:1", token="secret", plaintext_anywhere=True).token


def test_tls_needs_readable_files_and_both_of_a_pair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be given together"):
        Tls(key=tmp_path / "key.pem").credentials()
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be read"):
        Tls(ca=tmp_path / "ca.pem").credentials()


def test_batches_are_cut_by_count_and_by_bytes() -> None:
    rows: Iterator[dict[str, Any]] = ({**LEAST, "transaction_id": f"t{n}"} for n in range(7))
    assert [len(each.places) for each in batches(rows, 3)] == [3, 3, 1]
    wide = {**LEAST, "device_id": "d" * 1_000_000}
    assert [len(each.places) for each in batches([wide] * 5, 100)] == [3, 2]
    assert list(batches([], 3)) == []


def test_a_batch_keeps_refused_transactions_at_their_place() -> None:
    batch = Batch()
    for each in (LEAST, {**LEAST, "transaction_id": "bad", "amount_minor": "x"}, LEAST):
        batch.add(each)
    assert len(batch.request.transactions) == 2
    refusal = batch.places[1]
    assert not isinstance(refusal, Transaction)
    assert (refusal.transaction_id, refusal.field, refusal.code) == ("bad", "amount_minor", "type")
    assert str(refusal.error()) == refusal.message


def test_the_client_is_found_where_it_is_said_to_be() -> None:
    assert fraudengine.Client is blocking.Client
    assert fraudengine.AsyncClient is asynchronous.AsyncClient
    with pytest.raises(AttributeError, match="Clint"):
        _ = fraudengine.Clint


@pytest.mark.parametrize("module", [blocking, asynchronous, no_answer, transaction_module])
def test_the_examples_of_the_texts_run(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
