"""Rows as the sinks write them, put into PostgreSQL and Redis directly: many of them, or odd ones."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis

__all__ = ["ROOT", "add_alerts", "add_days", "add_transactions", "feed_entry", "made_tables", "publish"]

ROOT = Path(__file__).resolve().parents[2]


def made_tables(url: str) -> None:
    """Make the tables as the writer does, by its own files."""
    with psycopg.connect(url) as connection:
        for file in sorted((ROOT / "native/runtime/migrations").glob("*.sql")):
            connection.execute(file.read_bytes())


def add_days(url: str, first: date, count: int) -> None:
    """Make a partition for each of so many days."""
    with psycopg.connect(url) as connection:
        for number in range(count):
            day = first + timedelta(days=number)
            bounds = f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
            name = f"transactions_{day:%Y%m%d}"
            connection.execute(f"CREATE TABLE {name} PARTITION OF transactions {bounds}".encode())


def add_transactions(url: str, rows: str) -> None:
    """Insert what a query gives for (event_time, transaction_id, customer_id, merchant_id, action, score)."""
    given = "event_time, transaction_id, customer_id, merchant_id, action, score"
    fixed = "amount_minor, source_offset, decision_offset, source_partition, latency_micros, flags"
    with psycopg.connect(url) as connection:
        connection.execute(
            f"INSERT INTO transactions ({given}, {fixed}, decided_time) "
            f"SELECT {given}, 100, 0, 0, 0, 900, 0, event_time FROM ({rows}) AS given({given})".encode()
        )
        connection.execute("ANALYZE transactions")


def feed_entry(name: str, **changed: Any) -> dict[str, Any]:
    """Return what the feeds hold about one decision."""
    return {
        "transaction_id": name,
        "customer_id": "c1",
        "merchant_id": "m1",
        "currency": "EUR",
        "country": None,
        "channel": None,
        "action": "review",
        "amount_minor": 1_000,
        "event_time_micros": 1_700_000_000_000_000,
        "decided_time_micros": 1_700_000_000_000_000,
        "latency_micros": 900,
        "flags": 0,
        "decision_offset": 7,
        "score": 0.5,
        "reasons": [{"feature": "hour", "value": None, "contribution": 0.25}],
        **changed,
    }


def publish(url: str, feed: str, *entries: dict[str, Any]) -> list[str]:
    """Append entries to a feed; return their cursors."""
    client = redis.Redis.from_url(url, decode_responses=True)
    try:
        pipe = client.pipeline(transaction=False)
        for entry in entries:
            pipe.xadd(feed, {"json": json.dumps(entry)}, maxlen=100_000, approximate=True)
        return [str(cursor) for cursor in pipe.execute()]
    finally:
        client.close()


def add_alerts(url: str, rows: str) -> None:
    """Insert transactions that are alerts: what a query gives for the columns named in `given`."""
    keys = "event_time, transaction_id, customer_id, merchant_id, device_id"
    given = f"{keys}, action, score, amount_minor, currency"
    more = "source_offset, source_partition, latency_micros, "
    with psycopg.connect(url) as connection:
        for table, extra, values in (("alerts", "", ""), ("transactions", more, "0, 0, 900, ")):
            connection.execute(
                f"INSERT INTO {table} ({given}, {extra}decision_offset, flags, decided_time) "
                f"SELECT {given}, {values}0, 0, event_time FROM ({rows}) AS given({given})".encode()
            )
            connection.execute(f"ANALYZE {table}".encode())
