"""The page Customer risk over a stream that has decided: profile, windows, what is used, alerts, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dashboard import all_text, page
from live_service import live_service
from service_stack import Fresh
from small_bundle import scoring_bundle
from small_history import small_history

from fraudengine import services
from fraudengine.config import Settings, load
from fraudengine.dashboard import context
from fraudengine.stores import BlockingStores, Filter

ROWS = 600


@pytest.fixture(scope="module")
def settings(stack: services.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    fresh = Fresh(stack)
    folder = tmp_path_factory.mktemp("live")
    more = {"redis.profiles_per_second_max": 1_000_000}
    with live_service(fresh, scoring_bundle(folder), folder, more) as live:
        history = small_history(days=30, per_day=ROWS // 30)
        live.topics.send(history)
        live.stream.await_status(_written, 60, "all decisions in both stores")
        yield load(flags=live.settings)
    fresh.drop_databases()


def _written(told: dict[str, Any]) -> bool:
    return all(told["sinks"].get(name, {}).get("rows", 0) >= ROWS for name in ("postgres", "redis"))


def some_customer(settings: Settings) -> str:
    with BlockingStores(settings) as stores:
        return stores.page(Filter(), 1).transactions[0].customer_id


def test_a_customer_is_told_from_both_stores(settings: Settings) -> None:
    customer = some_customer(settings)
    with page(settings, "customer") as app:
        assert "Enter an id" in all_text(app)
        app.text_input(key="customer-id").set_value(customer).run()
        assert not app.exception
        history = context.stores().page(Filter(customer_id=customer), 200).transactions
        figures = {each.label: each.value for each in app.metric}
        assert figures["Payments"] == str(len(history))
        windows = app.dataframe[0].value
        counted = windows[(windows["window"] == "30d") & (windows["feature"] == "count 30d")]["value"]
        assert int(counted.iloc[0]) == len(history)
        merchants = {name for each in app.dataframe for name in each.value.get("merchants", ())}
        assert merchants == {each.merchant_id for each in history}
        assert app.query_params["customer"] == customer


def test_an_unknown_customer_is_told(settings: Settings) -> None:
    with page(settings, "customer") as app:
        app.text_input(key="customer-id").set_value("nobody").run()
        assert not app.exception
        told = all_text(app)
        assert "No live profile" in told
        assert "No stored payment" in told


def test_without_stores_the_page_says_what_it_waits_for() -> None:
    away = load(flags={"postgres.url": "postgresql://x@127.0.0.1:1/x", "redis.url": "redis://127.0.0.1:1/0"})
    with page(away, "customer") as app:
        app.text_input(key="customer-id").set_value("c1").run()
        assert not app.exception
        told = all_text(app)
        assert "Waiting for PostgreSQL" in told
        assert "Waiting for Redis" in told
