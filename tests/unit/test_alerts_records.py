"""Whatever bytes are in the topic: they are an alert that can be told of, or they are counted."""

from __future__ import annotations

from collections import Counter

from alert_records import alert, alert_bytes, marker_bytes
from hypothesis import example, given
from hypothesis import strategies as st
from wire_messages import message as wire

from fraudengine.alerts.message import Message
from fraudengine.alerts.records import Alert, GenerationRule, read
from fraudengine.alerts.rollup import Rollup


def taken(value: bytes, rule: GenerationRule | None = None) -> tuple[Alert | None, Counter[str]]:
    """Read a record; return the alert and the reasons why it is none."""
    ignored: Counter[str] = Counter()
    found = read(7, value, rule or GenerationRule(0), "EUR", lambda reason: ignored.update([reason]))
    return found, ignored


def test_an_alert_is_read_as_it_was_written() -> None:
    written = alert(7, device="d", score=0.25)
    assert taken(alert_bytes(written)) == (written, Counter())
    bare = alert(7, card=None, device=None, merchant=None, merchant_category=None, country=None, channel=None)
    assert taken(alert_bytes(bare)) == (bare, Counter())
    assert taken(alert_bytes(alert(7, score=None)))[0] == alert(7, score=None)
    record = wire("DecisionRecord").FromString(alert_bytes(alert(7)))
    record.transaction.ClearField("currency")
    assert taken(record.SerializeToString())[0] == alert(7, currency="EUR")


def test_what_is_no_alert_is_told_why() -> None:
    assert taken(marker_bytes()) == (None, Counter(["marker"]))
    assert taken(alert_bytes(alert()), GenerationRule(1)) == (None, Counter(["replaced"]))
    assert taken(alert_bytes(alert(), flags=1)) == (None, Counter(["repeated"]))
    for broken in (b"", b"\xff", alert_bytes(alert(currency="eur")), alert_bytes(alert(event_time_micros=1))):
        assert taken(broken) == (None, Counter(["unreadable"]))


@given(st.binary(max_size=40), st.integers(0, 400), st.binary(max_size=8))
@example(b"", 0, b"")
def test_no_bytes_stop_the_service(noise: bytes, at: int, patch: bytes) -> None:
    whole = alert_bytes(alert())
    for value in (noise, whole[:at], whole[:at] + patch + whole[at + len(patch) :]):
        found, ignored = taken(value)
        assert (found is None) == (ignored.total() == 1)
        if found is not None:
            rollup = Rollup.from_json(Rollup.of(found).to_json())
            told = Message("i", "i", 1, "all", f"customer:{found.customer}", rollup, 0, 0)
            assert Message.from_json(told.to_json()) == told
            assert len(told.title.splitlines()) == 1
            assert told.text
            assert told.as_data()
