"""How figures are written, and what a downloaded table may not do."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fraudengine.dashboard import charts, rows, text
from fraudengine.stores import Counts, FeedEntry, Minute, Reason


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (123_456_789, "EUR", "1,234,567.89 EUR"),
        (500, None, "5.00 GBP"),
        (1_234, "JPY", "1,234 JPY"),
        (1_234, "KWD", "1.234 KWD"),
    ],
)
def test_money_has_the_digits_of_its_currency(amount: int, currency: str | None, written: str) -> None:
    assert text.money(amount, currency, "GBP") == written


def test_sums_of_currencies_are_never_added() -> None:
    assert text.moneys({"EUR": 100, None: 200, "USD": 5_000}, "EUR") == ["50.00 USD", "3.00 EUR"]


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (-1, "> 60 s"),
        (250, "250 µs"),
        (1_500, "1.5 ms"),
        (250_000, "250 ms"),
        (2_500_000, "2.5 s"),
        (180e6, "3 min"),
    ],
)
def test_a_duration_has_the_unit_that_fits(micros: float, written: str) -> None:
    assert text.duration(micros) == written


def test_a_time_is_that_of_the_reader_with_utc_beside_it() -> None:
    micros = int(datetime(2024, 7, 1, 22, 30, tzinfo=UTC).timestamp() * 1e6)
    assert text.instant(micros, ZoneInfo("Europe/Berlin")) == "2024-07-02 00:30:00 CEST (22:30:00 UTC)"


def entry(name: str, **changed: object) -> FeedEntry:
    told: dict[str, object] = {
        "cursor": "1-0",
        "transaction_id": name,
        "customer_id": "=cmd()",
        "merchant_id": None,
        "currency": "JPY",
        "country": "DE",
        "channel": "atm",
        "action": "block",
        "amount_minor": 1_234,
        "event_time_micros": 1_700_000_000_000_000,
        "decided_time_micros": 1_700_000_000_000_000,
        "latency_micros": 900,
        "late": False,
        "coarse": False,
        "without_model": False,
        "decision_offset": 7,
        "score": None,
        "reasons": (Reason("hour", None, 0.25),),
        **changed,
    }
    return FeedEntry(**told)  # type: ignore[arg-type]  # the fields are those of a feed entry


def test_a_downloaded_table_holds_no_formula_and_times_in_utc() -> None:
    table = rows.frame([entry("-1+1"), entry("t2", score=0.5)], ZoneInfo("Asia/Tokyo"), "EUR")
    lines = rows.as_csv(table).decode().splitlines()
    assert lines[1] == "2023-11-14T22:13:20.000000Z,block,,1234.0,JPY,atm,DE,'=cmd(),,hour,'-1+1"
    assert lines[2].split(",")[2] == "0.5"
    assert "✕ block" in rows.styled(table).to_html()


def test_minutes_are_put_together_by_the_clock() -> None:
    def minute(number: int, transactions: int) -> Minute:
        told = Counts(60.0, transactions, 0, 1, 2, {("block", "EUR"): 500, ("approve", "EUR"): 9})
        return Minute(number * 60_000_000, told, {1_000.0: transactions})

    bins = charts.binned([minute(number, number) for number in range(3, 11)], 5)
    assert [(each.began.minute, each.seconds, each.transactions) for each in bins] == [
        (0, 120.0, 3 + 4),
        (5, 300.0, 5 + 6 + 7 + 8 + 9),
        (10, 60.0, 10),
    ]
    assert bins[1].stopped_minor == {"EUR": 2_500}
    assert bins[1].latencies == {1_000.0: 35}
    assert (bins[1].reviewed, bins[1].blocked) == (5, 10)
    for chart in (charts.rate_chart(bins), charts.share_chart(bins), charts.latency_chart(bins)):
        assert len(chart.to_dict()["datasets"]) == 1
    assert charts.money_chart(bins, "EUR", 100).to_dict()["mark"]["type"] == "bar"
    assert charts.share_chart([]).to_dict(), "nothing decided is no error"
