"""The stores as they are read: many rows, ties, odd days, servers that are away or stand still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from service_stack import Fresh
from store_rows import add_days, add_transactions, made_tables
from stream_process import eventually

from fraudengine import services
from fraudengine.config import Settings, load
from fraudengine.errors import ConfigError, StoreError, StoreTimeoutError
from fraudengine.stores import BlockingStores, Filter, StoredTransaction
from fraudengine.stores.history import _listing

DAY = date(2024, 3, 1)
_MICROSECOND = timedelta(microseconds=1)
ROWS = 60_000
_MANY = (
    "SELECT '2024-03-01 00:00+00'::timestamptz + make_interval(secs => n / 6 * 60), 't' || n, "
    "'c' || n % 1000, 'm' || n % 7, (n % 3 + 1)::smallint, (n % 100 / 100.0)::real "
    f"FROM generate_series(0, {ROWS - 1}) AS n"
)
"""Six transactions in each minute of a week, at one time."""


@pytest.fixture(scope="module")
def settings(stack: services.Stack) -> Iterator[Settings]:
    fresh = Fresh(stack)
    made = fresh.settings()
    made_tables(made.postgres.url)
    add_days(made.postgres.url, DAY, 7)
    add_transactions(made.postgres.url, _MANY)
    yield made
    fresh.drop_databases()


@pytest.fixture
def stores(settings: Settings) -> Iterator[BlockingStores]:
    with BlockingStores(settings) as made:
        yield made


def all_pages(stores: BlockingStores, wanted: Filter, size: int) -> list[StoredTransaction]:
    """Return the transactions of all pages."""
    page = stores.page(wanted, size)
    found = list(page.transactions)
    while page.next is not None:
        page = stores.page(wanted, size, page.next)
        assert len(page.transactions) <= size
        found += page.transactions
    return found


def test_pages_end_and_begin_inside_ties(stores: BlockingStores) -> None:
    hour = Filter(from_micros=_micros(2024, 3, 2, 5), to_micros=_micros(2024, 3, 2, 6))
    keys = [(each.event_time_micros, each.transaction_id) for each in all_pages(stores, hour, 7)]
    assert len(keys) == 360
    assert keys == sorted(set(keys), reverse=True)
    assert {micros for micros, _ in keys} == set(
        range(hour.from_micros or 0, hour.to_micros or 0, 60_000_000)
    )


def test_all_pages_of_a_filter_are_all_its_rows(stores: BlockingStores) -> None:
    wanted = Filter(customer_id="c7", merchant_id="m0", actions=("review", "block"), score_max=0.5)
    expected = {f"t{n}" for n in range(ROWS) if n % 1000 == 7 and n % 7 == 0 and n % 3 and n % 100 <= 50}
    assert {each.transaction_id for each in all_pages(stores, wanted, 3)} == expected
    assert expected


def test_a_page_reads_what_it_shows(settings: Settings) -> None:
    query, values = _listing(Filter())
    bounds = {"low": datetime(2024, 3, 3, tzinfo=UTC), "high": datetime(2024, 3, 4, tzinfo=UTC)}
    values |= {**bounds, "at": datetime(2024, 3, 3, 12, tzinfo=UTC), "id": "t2", "size": 50}
    with psycopg.connect(settings.postgres.url) as connection:
        explain: Any = "EXPLAIN (ANALYZE, FORMAT JSON) " + query
        row = connection.execute(explain, values).fetchone()
    assert row is not None
    scans = list(_scans(row[0][0]["Plan"]))
    assert [(each["Node Type"], each["Relation Name"]) for each in scans] == [
        ("Index Scan", "transactions_20240303")
    ]
    assert scans[0]["Actual Rows"] <= 50
    assert scans[0].get("Rows Removed by Filter", 0) == 0


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for each in plan.get("Plans", ()):
        yield from _scans(each)


def test_an_id_is_found_whatever_day_it_has(fresh: Fresh) -> None:
    url = fresh.postgres()
    made_tables(url)
    add_days(url, DAY, 3)
    add_days(url, date(2024, 3, 9), 1)
    times = {
        "first-day": "2024-03-01 00:00+00",
        "last-day": "2024-03-09 23:59:59.999999+00",
        "between": "2024-03-05 12:00+00",
        "long-ago": "2000-01-01 00:00+00",
        "far-ahead": "2099-12-31 23:59:59.999999+00",
    }
    rows = (
        f"('{at}'::timestamptz, '{name}', 'c', 'm', 1::smallint, 0.5::real)" for name, at in times.items()
    )
    add_transactions(url, f"VALUES {', '.join(rows)}")
    with BlockingStores(load(flags={"postgres.url": url})) as stores:
        for name, at in times.items():
            micros = (datetime.fromisoformat(at) - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
            for hint in (None, micros):
                found = stores.find(name, hint)
                assert found is not None
                assert (found.transaction_id, found.event_time_micros) == (name, micros)
        assert stores.find("nowhere") is None
        assert stores.find("between", _micros(2024, 3, 5)) is None
        newest_first = ["far-ahead", "last-day", "between", "first-day", "long-ago"]
        assert [each.transaction_id for each in all_pages(stores, Filter(), 1)] == newest_first


def test_an_alert_outlives_its_transaction(fresh: Fresh) -> None:
    url = fresh.postgres()
    made_tables(url)
    reasons = '[{"feature": "f", "value": null, "contribution": 1.5}]'
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO alerts (event_time, decided_time, amount_minor, decision_offset, action, flags, "
            "transaction_id, customer_id, reasons, status, verdict) "
            "VALUES (now(), now(), 5, 6, 3, 8, 't', 'c', %s, 'closed', 'fraud')",
            (reasons,),
        )
    with BlockingStores(load(flags={"postgres.url": url})) as stores:
        found = stores.find("t")
        assert found is not None
        assert (found.action, found.without_model, found.score, found.latency_micros) == (
            "block",
            True,
            None,
            None,
        )
        assert [(each.feature, each.value) for each in found.reasons] == [("f", None)]
        assert stores.alerts_of("c", 5) == (found,)
        alert = stores.alert("t")
        assert alert is not None
        assert (alert.status, alert.verdict, alert.analyst) == ("closed", "fraud", None)


def test_threads_share_the_stores(stores: BlockingStores) -> None:
    names = [f"t{n * 100}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(stores.find, names))
    assert [each.transaction_id if each else None for each in found] == names


def test_what_is_switched_off_or_not_written_yet_says_so(fresh: Fresh) -> None:
    off = load(flags={"postgres.enabled": False, "redis.enabled": False})
    with BlockingStores(off) as stores:
        with pytest.raises(ConfigError, match=r"postgres\.enabled is false"):
            stores.find("t")
        with pytest.raises(ConfigError, match=r"redis\.enabled is false"):
            stores.stats(5)
    url = fresh.postgres()
    with (
        BlockingStores(load(flags={"postgres.url": url})) as stores,
        pytest.raises(StoreError, match="no stream has written to this database"),
    ):
        stores.find("t")
    wrong = url.replace("/test_", "/nothing_")
    with (
        BlockingStores(load(flags={"postgres.url": wrong})) as stores,
        pytest.raises(StoreError, match=r"postgres: .*nothing_.* does not exist"),
    ):
        stores.writers()


def test_a_query_that_nobody_waits_for_ends_in_the_server(settings: Settings) -> None:
    with (
        psycopg.connect(settings.postgres.url) as holding,
        psycopg.connect(settings.postgres.url, autocommit=True) as connection,
        BlockingStores(settings, seconds=0.5) as stores,
    ):
        with holding.transaction():
            holding.execute("LOCK TABLE transactions_other IN ACCESS EXCLUSIVE MODE")
            since = time.monotonic()
            with pytest.raises(StoreTimeoutError, match="no answer within"):
                stores.find("nowhere")
            assert time.monotonic() - since < 2
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'fraudengine stores' AND state = 'active'"
            )
            eventually(lambda: connection.execute(waiting).fetchone() == (0,), 10, "no query of ours")
        assert stores.find("nowhere") is None


def test_a_database_that_stands_still_and_goes_and_comes_back(services_folder: Path) -> None:
    flags = {"embedded.folder": services_folder, "redis.enabled": False}
    embedded = load(flags=flags).embedded
    with BlockingStores(load(flags=flags), seconds=1.0) as stores:
        with pytest.raises(StoreError, match="postgres"):
            stores.writers()
        made_tables(services.up(embedded, only=("postgres",)).postgres_url)
        assert stores.writers() == ()
        services.down(services_folder, only=("postgres",))
        with pytest.raises(StoreError, match="postgres"):
            stores.writers()
        stack = services.up(embedded, only=("postgres",))
        assert stores.writers() == ()
        with _stopped(stack.services["postgres"].process.pid):
            since = time.monotonic()
            for _ in range(3):
                with pytest.raises(StoreTimeoutError):
                    stores.writers()
            assert time.monotonic() - since < 10
        eventually(lambda: _answers(stores), 30, "an answer")


class _stopped:
    """A server whose processes all stand still."""

    def __init__(self, pid: int) -> None:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        self._pids = [pid, *map(int, told)]

    def __enter__(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_error: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


def _answers(stores: BlockingStores) -> bool:
    try:
        return stores.writers() == ()
    except StoreError:
        return False


def _micros(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]  # no time zone
