"""The dashboard over 10,000,000 stored transactions: how long each read, and each page, takes.

    python benchmarks/dashboard_pages.py [--rows 10000000] [--days 10] [--rounds 5]
    python benchmarks/dashboard_pages.py --indexes        # what look-up indexes cost the writer

Why so many: analysts search months of a small bank or a day of a large one. Rows have the spread of real
ones: 200,000 customers, 20,000 merchants of which few have most payments, 2% flagged and all of them open, a
fraud reported for every 500th, ids like UUIDs. Every read of a page is made anew: nothing is kept from the
run before. Slower reads mean that an index is no longer used, or that something is counted that should be
read off. Writes results/dashboard_pages.json.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import psycopg
import redis
import streamlit as st
from dashboard import ANALYST, page
from service_stack import Fresh, started_stack
from small_bundle import scoring_bundle
from store_rows import add_days, feed_entry, made_tables, publish
from streamlit.testing.v1 import AppTest

from fraudengine.config import Settings
from fraudengine.dashboard import evidence
from fraudengine.stores import BlockingStores, Filter
from machine import facts, save

_CHUNK = 500_000
_DAY_MICROS = 86_400_000_000
_INDEXES = ("transaction_id", "customer_id", "merchant_id")
_ROWS = """
SELECT at, at + interval '2 milliseconds', (exp(random() * 6) * 100)::bigint, i, i, 48 + random() * 5,
       2 + random() * 10, score, 0, 900, CASE WHEN score > 0.995 THEN 3 WHEN score > 0.98 THEN 2 ELSE 1 END,
       0, 1 + i %% 7, 5411, md5(i::text)::uuid::text, 'c' || (random() * 200000)::int,
       'card' || (random() * 200000)::int,
       'm' || floor(20000 * random() * random() * random())::int, 'EUR',
       (ARRAY['DE', 'FR', 'NL', 'ES', 'IT'])[1 + i %% 5]
FROM (SELECT i, random() AS score, %(first)s::timestamptz + i * %(step)s::interval AS at
      FROM generate_series(%(low)s::bigint, %(high)s::bigint - 1) AS i) AS made
"""
_COLUMNS = (
    "event_time, decided_time, amount_minor, source_offset, decision_offset, latitude, longitude, score, "
    "source_partition, latency_micros, action, flags, channel, merchant_category, transaction_id, "
    "customer_id, card_id, merchant_id, currency, country"
)
_ALERT_COLUMNS = (
    "event_time, decided_time, amount_minor, decision_offset, score, action, flags, channel, "
    "merchant_category, transaction_id, customer_id, card_id, merchant_id, currency, country"
)
_LABELS = """
INSERT INTO labels (transaction_id, event_time, customer_id, amount_minor, currency, is_fraud, known_time,
                    label_offset)
SELECT transaction_id, event_time, customer_id, amount_minor, currency, true, event_time + interval '2 days',
       source_offset
FROM transactions WHERE source_offset % 500 = 0
"""
_FEATURES = """
UPDATE transactions SET features = array_fill(1::real, ARRAY[76]) WHERE source_offset % 1000 = 0
"""
_ALERTS = f"INSERT INTO alerts ({_ALERT_COLUMNS}) SELECT {_ALERT_COLUMNS} FROM transactions WHERE action > 1"


def main() -> None:
    """Fill the stores, then read."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--days", type=int, default=10)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--indexes", action="store_true")
    given = arguments.parse_args()
    # Pages run without a server here, of which Streamlit warns with every run.
    logging.disable(logging.WARNING)
    with started_stack() as stack, tempfile.TemporaryDirectory() as folder:
        bundle = scoring_bundle(Path(folder))
        settings = Fresh(stack).settings({"dashboard.bundle": bundle})
        made_tables(settings.postgres.url)
        if given.indexes:
            save("dashboard_indexes", {"machine": facts(), "seconds": cost_of_indexes(settings)})
            return
        fill_postgres(settings, given.rows, given.days)
        fill_redis(settings)
        told = {
            "rows": given.rows,
            "reads": reads(settings, given.rounds),
            "pages": pages(settings, given.rounds),
        }
    save("dashboard_pages", {"machine": facts(), **told})


def fill_postgres(settings: Settings, rows: int, days: int) -> None:
    """Write the rows, the newest of them now, and bring the indexes up to date as the writer does."""
    first = datetime.now(UTC) - timedelta(days=days - 1)
    first = first.replace(hour=0, minute=0, second=0, microsecond=0)
    add_days(settings.postgres.url, first.date(), days)
    step = (datetime.now(UTC) - first) / rows
    began = time.monotonic()
    with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for low in range(0, rows, _CHUNK):
            bounds = {"first": first, "step": step, "low": low, "high": min(rows, low + _CHUNK)}
            connection.execute(f"INSERT INTO transactions ({_COLUMNS}) {_ROWS}".encode(), bounds)
            print(f"{bounds['high']:,} rows after {time.monotonic() - began:.0f} s", flush=True)
        for more in (_ALERTS, _LABELS, _FEATURES):
            connection.execute(more.encode())
        summarise(connection)
        for table in ("transactions", "alerts", "labels"):
            connection.execute(f"ANALYZE {table}".encode())


def summarise(connection: psycopg.Connection) -> float:
    """Do what `native/runtime/src/sink/postgres_lookup.rs` does; return the seconds that it took."""
    began = time.monotonic()
    found = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'brin' AND c.relkind = 'i'"
    ).fetchall()
    for (name,) in found:
        connection.execute("SELECT brin_summarize_new_values(%s)", (name,))
    return time.monotonic() - began


def fill_redis(settings: Settings) -> None:
    """Write a day of minutes, the counters and a feed."""
    minute = int(time.time()) // 60
    counted = {
        "transactions": 1_200_000,
        "approved": 1_176_000,
        "reviewed": 18_000,
        "blocked": 6_000,
        **{f"amount_minor:{action}:EUR": 7_000_000 for action in ("approve", "review", "block")},
        **{f"latency:{bound}": 60_000 for bound in (500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 25_000)},
    }
    now = int(time.time() * 1e6)
    with redis.Redis.from_url(settings.redis.url) as client:
        pipe = client.pipeline(transaction=False)
        for number in range(minute - 1_440, minute + 1):
            pipe.hset(f"fraud:minute:{number}", mapping=counted)
        pipe.hset("fraud:counters", mapping={name: 1_440 * count for name, count in counted.items()})
        started = {
            "epoch_started_ms": (minute - 1_440) * 60_000,
            "next_offset": 1,
            "updated_ms": now // 1_000,
        }
        pipe.hset("fraud:position", mapping=started)
        pipe.execute()
    entries = (feed_entry(f"t{n}", decided_time_micros=now, event_time_micros=now) for n in range(1_000))
    publish(settings.redis.url, "fraud:feed", *entries)


def reads(settings: Settings, rounds: int) -> dict[str, dict[str, float]]:
    """Return the seconds that each read takes."""
    url = settings.postgres.url
    newest = one(url, "SELECT transaction_id, customer_id FROM transactions ORDER BY event_time DESC LIMIT 1")
    oldest = one(url, "SELECT transaction_id FROM transactions WHERE action = 1 ORDER BY event_time LIMIT 1")
    rare = one(
        url,
        "SELECT merchant_id FROM transactions WHERE event_time > now() - interval '1 day' "
        "GROUP BY 1 ORDER BY count(*), 1 LIMIT 1",
    )
    now = int(time.time() * 1e6)
    with BlockingStores(settings) as stores:
        customer = Filter(customer_id=newest[1])
        asked: dict[str, Callable[[], object]] = {
            "live: figures of the last minute": lambda: stores.stats(1),
            "live: 60 minutes": lambda: stores.minutes(60),
            "live: 24 hours": lambda: stores.minutes(1_440),
            "live: writers": stores.writers,
            "feed: newest decisions": lambda: stores.newest_decisions(100),
            "feed: newest blocked": lambda: stores.page(Filter(actions=("block",)), 100),
            "feed: score from 0.9999": lambda: stores.page(Filter(score_min=0.9999), 100),
            "feed: country, channel, amount, last hour": lambda: stores.page(
                Filter(now - 3_600_000_000, countries=("DE",), channels=("atm",), amount_min_minor=10_000),
                100,
            ),
            "search: newest id": lambda: stores.find(newest[0]),
            "search: oldest id, approved": lambda: stores.find(oldest[0]),
            "search: an id that is nowhere": lambda: stores.find("nowhere"),
            "search: customer": lambda: stores.page(customer, 100),
            "search: a customer who is nobody": lambda: stores.page(Filter(customer_id="nobody"), 100),
            "search: large merchant": lambda: stores.page(Filter(merchant_id="m0"), 100),
            "search: small merchant": lambda: stores.page(Filter(merchant_id=rare[0]), 100),
            "search: a merchant who is nobody": lambda: stores.page(Filter(merchant_id="nobody"), 100),
            "detail: 30 days of a customer": lambda: stores.page(
                Filter(now - 30 * _DAY_MICROS, customer_id=newest[1]), 300
            ),
            "detail: label and alert": lambda: (stores.label(newest[0]), stores.alert(newest[0])),
        }
        return {name: timed(name, read, rounds) for name, read in asked.items()}


def pages(settings: Settings, rounds: int) -> dict[str, dict[str, float]]:
    """Return the seconds that a whole run of each page takes, reads and drawing, without the browser."""
    newest = one(
        settings.postgres.url,
        "SELECT transaction_id, customer_id FROM transactions WHERE action = 3 "
        "ORDER BY event_time DESC LIMIT 1",
    )
    told = {}

    def run(name: str, shown: AppTest) -> None:
        def anew() -> None:
            # What the last run kept is over, as when nobody has looked for a while.
            st.cache_data.clear()
            for kept in (evidence._live, evidence._drift_sample):
                kept.clear()
            shown.run()
            assert not shown.exception, shown.exception

        told[name] = timed(f"page {name}", anew, rounds)

    with page(settings, "live", ANALYST) as shown:
        run("live", shown)
    with page(settings, "feed", ANALYST) as shown:
        run("feed", shown)
        shown.button_group[0].set_value(["block"])
        run("feed, blocked", shown)
    with page(settings, "feed", ANALYST) as shown:
        shown.query_params["transaction"] = newest[0]
        run("feed, one transaction", shown)
    for view in ("open", "customer_id", "merchant_id", "closed", "audit"):
        with page(settings, "alerts", ANALYST) as shown:
            shown.session_state["view"] = view
            run(f"alerts, {view}", shown)
    with page(settings, "customer", ANALYST) as shown:
        shown.text_input(key="customer-id").set_value(newest[1])
        run("customer", shown)
    for section in ("Threshold", "Precision and recall", "Drift", "Evaluation"):
        with page(settings, "model", ANALYST) as shown:
            shown.session_state["section"] = section
            run(f"model, {section.lower()}", shown)
    return told


def cost_of_indexes(settings: Settings) -> dict[str, dict[str, float]]:
    """Return the seconds for the third million rows without look-up indexes, with ours, and with B-trees."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    add_days(settings.postgres.url, first.date(), 1)
    trees = [f"CREATE INDEX lookup_{name} ON transactions ({name}, event_time)" for name in _INDEXES]
    told = {}
    with psycopg.connect(settings.postgres.url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(
            f"CREATE TEMP TABLE made AS SELECT {_COLUMNS} FROM transactions WITH NO DATA".encode()
        )
        for low in range(0, 3_000_000, _CHUNK):
            bounds = {"first": first, "step": timedelta(milliseconds=20), "low": low, "high": low + _CHUNK}
            connection.execute(f"INSERT INTO made ({_COLUMNS}) {_ROWS}".encode(), bounds)
        copied = (
            f"INSERT INTO transactions ({_COLUMNS}) SELECT * FROM made WHERE source_offset / 1000000 = %s"
        )
        for name in ("look-up indexes", "none", "B-trees"):
            if name == "none":
                for column in ("id", "customer", "merchant"):
                    connection.execute(f"DROP INDEX transactions_by_{column}".encode())
            for tree in trees if name == "B-trees" else ():
                connection.execute(tree.encode())
            connection.execute("TRUNCATE transactions")
            connection.execute("CHECKPOINT")
            for million in range(3):
                began = time.monotonic()
                connection.execute(copied.encode(), (million,))
                rows_seconds = time.monotonic() - began
                summary_seconds = summarise(connection)
            told[name] = {"rows": rows_seconds, "summaries": summary_seconds}
            print(name, told[name], flush=True)
    return told


def timed(name: str, read: Callable[[], object], rounds: int) -> dict[str, float]:
    """Return the first and the median time of a read, seconds."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        read()
        taken.append(time.perf_counter() - began)
    told = {"first": taken[0], "median": statistics.median(taken[1:])}
    print(f"{name:<48} {told['first'] * 1e3:9.1f} ms, then {told['median'] * 1e3:9.1f} ms", flush=True)
    return told


def one(url: str, query: str) -> tuple[str, ...]:
    """Return one row of texts."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None, query
    return tuple(map(str, row))


if __name__ == "__main__":
    main()
