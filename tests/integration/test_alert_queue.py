"""The analysts' queue as it is read: order over currencies, pages without gaps, groups; quality by day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from service_stack import Fresh
from store_rows import add_alerts, add_days, add_transactions, made_tables

from fraudengine import services
from fraudengine.config import Settings
from fraudengine.money import Worth
from fraudengine.stores import BlockingStores, QueuedAlert, QueueFilter
from fraudengine.stores import queue_query as sql

DAY = date(2024, 3, 1)
ROWS = 6_000
RATES = {"USD": 0.9, "JPY": 0.006}
_ALERTS = (
    "SELECT '2024-03-01 00:00+00'::timestamptz + make_interval(secs => n * 60), 'a' || n, 'c' || n % 50, "
    "'m' || n % 7, CASE WHEN n % 3 > 0 THEN 'd' || n % 11 END, (n % 2 + 2)::smallint, "
    "(n % 100 / 100.0)::real, "
    "(n % 13 * 1000)::bigint, (ARRAY[NULL, 'EUR', 'USD', 'JPY', 'XAU'])[n % 5 + 1] "
    f"FROM generate_series(0, {ROWS - 1}) AS n"
)


def expected() -> dict[str, tuple[float, str | None, str | None, int]]:
    """Return worth, device, currency and action of each alert by its id, computed here."""
    currencies = (None, "EUR", "USD", "JPY", "XAU")
    factors = {None: 1.0, "EUR": 1.0, "USD": 0.9, "JPY": 0.6, "XAU": 0.0}
    return {
        f"a{n}": (
            float(np.float32(n % 100 / 100)) * (n % 13 * 1000) * factors[currencies[n % 5]],
            f"d{n % 11}" if n % 3 else None,
            currencies[n % 5],
            n % 2 + 2,
        )
        for n in range(ROWS)
    }


@pytest.fixture(scope="module")
def settings(stack: services.Stack) -> Iterator[Settings]:
    fresh = Fresh(stack)
    made = fresh.settings({"engine.rates": RATES})
    made_tables(made.postgres.url)
    add_days(made.postgres.url, DAY, 5)
    add_alerts(made.postgres.url, _ALERTS)
    yield made
    fresh.drop_databases()


@pytest.fixture
def stores(settings: Settings) -> Iterator[BlockingStores]:
    with BlockingStores(settings) as made:
        yield made


def all_pages(stores: BlockingStores, wanted: QueueFilter, size: int) -> list[QueuedAlert]:
    """Return the alerts of all pages."""
    page = stores.queue_page(wanted, size)
    found = list(page.alerts)
    while page.next is not None:
        page = stores.queue_page(wanted, size, page.next)
        found += page.alerts
    return found


def test_the_queue_is_ordered_by_money_at_risk_over_currencies(stores: BlockingStores) -> None:
    found = all_pages(stores, QueueFilter(), 700)
    wanted = expected()
    assert sorted(each.transaction.transaction_id for each in found) == sorted(wanted)
    worth = [wanted[each.transaction.transaction_id][0] for each in found]
    assert worth == pytest.approx(sorted(worth, reverse=True))
    # What has no rate is behind everything that has one, and still ordered by its own money.
    last = [each for each in found if each.transaction.currency == "XAU" and each.at_risk_minor]
    assert last
    assert [each.at_risk_minor for each in last] == pytest.approx(
        sorted((each.at_risk_minor for each in last), reverse=True)
    )


def test_filters_of_the_queue_hold_together(stores: BlockingStores) -> None:
    wanted = QueueFilter(actions=("block",), score_min=0.5, customer_id="c7", merchant_id="m0")
    found = {each.transaction.transaction_id for each in all_pages(stores, wanted, 2)}
    assert found == {
        f"a{n}" for n in range(ROWS) if n % 50 == 7 and n % 7 == 0 and n % 2 == 1 and n % 100 >= 50
    }
    assert found


@pytest.mark.parametrize(("by", "key"), [("customer_id", "c7"), ("merchant_id", "m3"), ("device_id", "d4")])
def test_groups_add_what_their_alerts_are_worth(stores: BlockingStores, by: Any, key: str) -> None:
    groups = {each.key: each for each in stores.queue_groups(by, QueueFilter(), 100)}
    ordered = [each.worth_minor for each in groups.values()]
    assert ordered == sorted(ordered, reverse=True)
    conditions: Any = {by: key}
    alerts = all_pages(stores, QueueFilter(**conditions), 500)
    group = groups[key]
    assert group.alerts == len(alerts)
    assert group.blocked == sum(each.transaction.action == "block" for each in alerts)
    assert group.worth_minor == pytest.approx(sum(each.worth_minor for each in alerts))
    ids = stores.queue_ids(by, key, QueueFilter(), 10_000)
    assert sorted(ids) == sorted(each.transaction.transaction_id for each in alerts)
    assert sum(each.alerts for each in groups.values()) == sum(
        value[1] is not None or by != "device_id" for value in expected().values()
    )


def test_totals_are_by_currency(stores: BlockingStores) -> None:
    totals = stores.queue_totals()
    assert (totals.open, totals.snoozed) == (ROWS, 0)
    factors = {None: 1.0, "EUR": 1.0, "USD": 0.9, "JPY": 0.6}
    for currency, factor in factors.items():
        worth = sum(value[0] for value in expected().values() if value[2] == currency)
        assert totals.at_risk_minor[currency] * factor == pytest.approx(worth)


def test_a_page_reads_no_more_than_it_shows_of_each_currency(settings: Settings) -> None:
    query: Any = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql.listing(QueueFilter(), None)
    values = sql.values(QueueFilter()) | {"codes": ["", "EUR", "USD"], "factors": [1.0, 1.0, 0.9], "size": 20}
    with psycopg.connect(settings.postgres.url) as connection:
        connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        row = connection.execute(query, values).fetchone()
    assert row is not None
    (scan,) = _scans(row[0][0]["Plan"])
    assert scan["Index Name"] == "alerts_at_risk"
    assert scan["Actual Rows"] <= 20


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for each in plan.get("Plans", ()):
        yield from _scans(each)


def test_worth_follows_the_exponents_of_both_currencies() -> None:
    worth = Worth("EUR", RATES)
    assert worth.factor("JPY") == pytest.approx(0.6)
    assert worth.factor("USD") == pytest.approx(0.9)
    assert worth.factor("GBP") is None
    assert worth.name(None) == "EUR"


def test_quality_joins_labels_with_scores(fresh: Fresh) -> None:
    made = fresh.settings()
    url = made.postgres.url
    made_tables(url)
    add_days(url, DAY, 2)
    add_transactions(
        url,
        "SELECT '2024-03-01 00:00+00'::timestamptz + make_interval(secs => n), 't' || n, "
        "'c', 'm', 1::smallint, 0.1::real FROM generate_series(0, 199) AS n",
    )
    add_alerts(
        url,
        "SELECT '2024-03-02 00:00+00'::timestamptz + make_interval(secs => n), 'a' || n, "
        "'c', 'm', NULL::text, 3::smallint, 0.9::real, 500::bigint, NULL::text "
        "FROM generate_series(0, 9) AS n",
    )
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO labels SELECT transaction_id, event_time, customer_id, amount_minor, currency, "
            "true, event_time, 0, NULL FROM transactions WHERE transaction_id IN ('t3', 'a1', 'a2')"
        )
        connection.execute(
            "UPDATE alerts SET verdict = 'legitimate', status = 'closed' WHERE transaction_id = 'a5'"
        )
    with BlockingStores(made) as stores:
        first, second = stores.days(DAY, date(2024, 3, 2))
        assert (first.day, first.alerts, first.frauds, first.caught, first.amount_minor) == (
            DAY,
            0,
            1,
            0,
            100,
        )
        assert (second.alerts, second.false_alerts, second.frauds, second.caught) == (10, 1, 2, 2)
        assert (second.amount_minor, second.caught_minor) == (1_000, 1_000)
        sample = stores.scored(DAY, date(2024, 3, 2), 10_000)
        assert (sample.rows_all, sample.share, sample.frauds_all, sample.days) == (210, 1.0, 3, 2.0)
        assert sorted(sample.score[sample.is_fraud].tolist()) == pytest.approx([0.1, 0.9, 0.9])
        assert sample.weight.sum() == 210
        drift = stores.feature_sample(1_000)
        assert (drift.rows_read, drift.approved, drift.values.shape[0]) == (210, 0, 0)
        assert drift.last_micros == int(datetime(2024, 3, 2, 0, 0, 9, tzinfo=UTC).timestamp() * 1e6)
        assert stores.models(50) == ((None, 50),)
