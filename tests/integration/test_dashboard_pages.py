"""The pages Live and Feed over real stores: what stands there, what is found, what is said without data."""

from __future__ import annotations

import json
import time

import psycopg
import pytest
import redis
from dashboard import all_text, page
from service_stack import Fresh
from store_rows import feed_entry, made_tables, publish

from fraudengine import _native
from fraudengine.config import Settings
from fraudengine.stores import BlockingStores, Filter

NAMES = [name for name, *_ in _native.catalogue_features()]
REASONS = [
    {"feature": "amount", "value": 12.5, "contribution": 1.5},
    {"feature": "hour_of_day", "value": None, "contribution": -0.5},
]
ROWS = 40


@pytest.fixture
def settings(fresh: Fresh) -> Settings:
    made = fresh.settings({"engine.reference_currency": "EUR"})
    made_tables(made.postgres.url)
    return made


def fill(settings: Settings) -> None:
    """Put some decided transactions into PostgreSQL, and what Redis tells of them."""
    catalogue = int(_native.catalogue_hash()[:16], 16)
    with psycopg.connect(settings.postgres.url) as connection:
        for number in range(ROWS):
            connection.execute(
                "INSERT INTO transactions (event_time, decided_time, amount_minor, source_offset, "
                "decision_offset, catalogue, latitude, longitude, score, source_partition, latency_micros, "
                "action, flags, channel, transaction_id, customer_id, merchant_id, country, reasons, "
                "features) "
                "VALUES (now() - make_interval(secs => %(at)s), now(), %(amount)s, 0, %(n)s, %(catalogue)s, "
                "48, %(east)s, %(score)s, 0, 900, %(action)s, 0, 3, %(id)s, %(customer)s, %(merchant)s, "
                "%(country)s, %(reasons)s, %(features)s)",
                {
                    "at": number * 60,
                    "n": number,
                    "amount": 100 * (number + 1),
                    "catalogue": catalogue - 2**64 if catalogue >= 2**63 else catalogue,
                    "east": 2 + number % 5,
                    "score": number / ROWS,
                    "action": 1 + number % 3,
                    "id": f"t{number}",
                    "customer": f"c{number % 4}",
                    "merchant": f"m{number % 5}",
                    "country": "DE" if number % 2 else "FR",
                    "reasons": json.dumps(REASONS) if number % 3 else None,
                    "features": [float(each) for each in range(len(NAMES))],
                },
            )
    minute = int(time.time()) // 60
    micros = int(time.time() * 1e6)
    with redis.Redis.from_url(settings.redis.url) as client:
        counted = {
            "transactions": 120,
            "approved": 90,
            "reviewed": 20,
            "blocked": 10,
            "amount_minor:block:EUR": 123_456,
        }
        for number in (minute - 1, minute):
            client.hset(
                f"fraud:minute:{number}", mapping={**counted, "latency:2000": 110, "latency:5000": 10}
            )
        client.hset("fraud:counters", mapping=counted)
        client.hset(
            "fraud:position",
            mapping={
                "next_offset": 120,
                "topic": "decisions",
                "epoch_started_ms": (minute - 5) * 60_000,
                "updated_ms": micros // 1_000,
            },
        )
    entries = (
        feed_entry(f"t{number}", event_time_micros=micros, decided_time_micros=micros) for number in range(3)
    )
    publish(settings.redis.url, "fraud:feed", *entries)


def test_live_says_what_it_waits_for_before_anything_was_decided(settings: Settings) -> None:
    with page(settings, "live") as shown:
        assert not shown.exception
        assert "Nothing was decided yet" in all_text(shown)


def test_live_shows_figures_charts_and_how_every_part_is(settings: Settings) -> None:
    fill(settings)
    with page(settings, "live") as shown:
        assert not shown.exception
        told = {each.label: each.value for each in shown.metric}
        assert told["Fraud rate (flagged)"] == "25.0%"
        assert told["Review rate"] == "16.7%"
        assert told["Money stopped"] == "1,234.56 EUR"
        assert told["Decision latency p99"] == "900 µs"
        assert told["Consumer lag"] == "-", "no stream is set"
        text = all_text(shown)
        assert "**PostgreSQL** answers" in text
        assert "**Redis** last written" in text
        assert "**Stream** dashboard.stream is not set" in text
        assert len(shown.get("vega_lite_chart")) == 4


def test_a_part_that_is_away_is_told_and_takes_no_other_with_it(settings: Settings) -> None:
    fill(settings)
    away = settings.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    with page(settings.model_copy(update={"redis": away}), "live") as shown:
        assert not shown.exception
        assert "Waiting for Redis" in all_text(shown)
        assert "**PostgreSQL** answers" in all_text(shown)
    off = settings.postgres.model_copy(update={"enabled": False})
    with page(settings.model_copy(update={"postgres": off}), "live") as shown:
        assert not shown.exception
        assert "postgres.enabled is false" in all_text(shown)
        assert "1,234.56 EUR" in all_text(shown)


def test_the_feed_is_live_until_it_is_asked_for_something(settings: Settings) -> None:
    with page(settings, "feed") as shown:
        assert "Nothing was decided yet" in all_text(shown)
    fill(settings)
    with page(settings, "feed") as shown:
        assert not shown.exception
        assert list(shown.dataframe[0].value["transaction"]) == ["t2", "t1", "t0"]
        shown.button_group[0].set_value(["block"]).run()
        assert not shown.exception
        found = shown.dataframe[0].value
        assert list(found["transaction"]) == [f"t{number}" for number in range(ROWS) if number % 3 == 2]
        assert set(found["reason"]) == {"amount"}
        shown.text_input(key="feed_countries").set_value("fr").run()
        found = shown.dataframe[0].value
        assert set(found["country"]) == {"FR"}
        shown.number_input(key="feed_least").set_value(1_000.0).run()
        assert "No transaction fulfils these conditions" in all_text(shown)


@pytest.mark.parametrize(("word", "rows"), [("c1", 10), ("m2", 8)])
def test_a_customer_or_a_merchant_is_found_by_its_id(settings: Settings, word: str, rows: int) -> None:
    fill(settings)
    with page(settings, "feed") as shown:
        shown.text_input(key="feed_search").set_value(word).run()
        assert not shown.exception
        assert len(shown.dataframe[0].value) == rows
        shown.text_input(key="feed_search").set_value("nobody").run()
        assert "has the id 'nobody'" in all_text(shown)


def test_who_searches_before_the_writer_finds_it_a_moment_later(settings: Settings) -> None:
    with page(settings, "feed") as shown:
        shown.text_input(key="feed_search").set_value("t2").run()
        assert "has the id 't2'" in all_text(shown)
        fill(settings)
        shown.run()
        assert not shown.exception
        assert "3.00 EUR" in all_text(shown)


def test_a_transaction_is_shown_in_full(settings: Settings) -> None:
    fill(settings)
    with page(settings, "feed") as shown:
        shown.text_input(key="feed_search").set_value("t2").run()
        assert not shown.exception
        text = all_text(shown)
        assert "3.00 EUR" in text
        assert "Customer `c2`" in text
        assert "10 payments" in text
        features = shown.dataframe[0].value
        assert list(features["feature"])[:2] == ["amount", "hour_of_day"], "reasons come first"
        assert len(features) == len(NAMES)
        assert set(features["unit"]) >= {"major units", "hours"}
        assert len(shown.get("vega_lite_chart")) == 3, "reasons, time line, map"
        next(each for each in shown.button if each.label == "Back to the feed").click().run()
        assert list(shown.dataframe[0].value["transaction"]) == ["t2", "t1", "t0"]


def test_a_transaction_that_is_nowhere_is_said_to_be(settings: Settings) -> None:
    with page(settings, "feed") as shown:
        shown.query_params["transaction"] = "`nothing`"
        shown.run()
        assert not shown.exception
        assert "No transaction has the id" in all_text(shown)


def test_filters_are_those_of_the_stores(settings: Settings) -> None:
    fill(settings)
    with BlockingStores(settings) as stores:
        wanted = Filter(
            channels=("ecommerce",), countries=("DE",), amount_min_minor=500, amount_max_minor=1_000
        )
        found = [each.transaction_id for each in stores.page(wanted, 100).transactions]
        assert found == ["t5", "t7", "t9"]
        assert stores.page(Filter(channels=("atm",)), 10).transactions == ()
        minutes = stores.minutes(3)
        assert [each.counts.transactions for each in minutes] == [0, 120, 120]
        assert minutes[-1].latencies == {2_000.0: 110, 5_000.0: 10}
        assert stores.outages(seconds=5) == {}
