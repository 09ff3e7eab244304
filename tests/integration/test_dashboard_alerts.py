"""The page Alerts over real stores: order, groups, verdicts of analysts, and none of viewers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
import streamlit as st
from dashboard import VIEWER, all_text, page
from service_stack import Fresh
from store_rows import add_alerts, add_days, made_tables
from streamlit.testing.v1 import AppTest
from wire_messages import read_topic

from fraudengine.config import Settings
from fraudengine.dashboard import context


@pytest.fixture
def settings(fresh: Fresh) -> Settings:
    made = fresh.settings({"kafka.labels_topic": fresh.topic("labels"), "engine.rates": {"USD": 0.5}})
    made_tables(made.postgres.url)
    add_days(made.postgres.url, date(2024, 3, 1), 1)
    add_alerts(
        made.postgres.url,
        "SELECT '2024-03-01 00:00+00'::timestamptz + make_interval(secs => n), 'a' || n, "
        "'c' || n % 2, 'm1', 'd1', 3::smallint, 0.5::real, (10000 * (n + 1))::bigint, "
        "(ARRAY['EUR', 'USD'])[n % 2 + 1] "
        "FROM generate_series(0, 5) AS n",
    )
    st.cache_data.clear()
    return made


@pytest.fixture
def app(settings: Settings) -> Iterator[AppTest]:
    with page(settings, "alerts") as made:
        yield made


def test_the_queue_begins_with_the_most_money_at_risk(app: AppTest) -> None:
    assert not app.exception
    told = all_text(app)
    assert "Open alerts: 6" in told
    assert "Money at risk: 600.00 USD" in told
    assert "450.00 EUR" in told
    # 300 EUR at risk by USD at half: a4 (250), a2 and a5 (150 each), ...
    assert list(app.dataframe[0].value["transaction"]) == ["a4", "a2", "a5", "a3", "a0", "a1"]


def test_a_group_is_chosen_and_decided(app: AppTest, settings: Settings) -> None:
    app.session_state["view"] = "customer_id"
    app.run()
    assert list(app.dataframe[0].value["customer"]) == ["c0", "c1"]
    app.selectbox(key="group-customer_id").set_value("c1").run()
    assert app.button(key="judge-customer_id-c1-fraud").disabled
    app.checkbox(key="judge-customer_id-c1-sure").check().run()
    app.text_area(key="judge-customer_id-c1-note").set_value("one ring").run()
    app.button(key="judge-customer_id-c1-fraud").click().run()
    assert not app.exception
    labels = [each for _, each in read_topic(settings.kafka.brokers, settings.kafka.labels_topic, "Label")]
    assert sorted((each.transaction_id, each.actor, each.is_fraud) for each in labels) == [
        ("a1", "Ann", 2),
        ("a3", "Ann", 2),
        ("a5", "Ann", 2),
    ]
    assert {each.note for each in context.stores().audit(10)} == {"one ring"}
    app.session_state["view"] = "audit"
    app.run()
    assert set(app.dataframe[0].value["to"]) == {"✕ fraud"}


def test_a_viewer_sees_the_buttons_and_cannot_press_them(settings: Settings) -> None:
    with page(settings, "alerts", VIEWER) as app:
        app.session_state["view"] = "customer_id"
        app.run()
        app.selectbox(key="group-customer_id").set_value("c1").run()
        for name in ("fraud", "genuine", "snooze"):
            assert app.button(key=f"judge-customer_id-c1-{name}").disabled
        assert "verdicts are given by analysts" in all_text(app)


def test_a_verdict_that_cannot_be_sent_is_told_as_not_done(fresh: Fresh, settings: Settings) -> None:
    away = fresh.settings({"postgres.url": settings.postgres.url, "kafka.brokers": "127.0.0.1:1"})
    with page(away, "alerts") as app:
        app.session_state["view"] = "customer_id"
        app.run()
        app.selectbox(key="group-customer_id").set_value("c0").run()
        app.checkbox(key="judge-customer_id-c0-sure").check().run()
        app.button(key="judge-customer_id-c0-fraud").click().run()
        assert "Not done" in all_text(app)
        assert context.stores().queue_totals().open == 6


def test_without_tables_the_page_says_what_it_waits_for(fresh: Fresh) -> None:
    with page(fresh.settings(), "alerts") as app:
        assert not app.exception
        told = all_text(app)
        assert "Waiting for PostgreSQL" in told
        # A text that stands alone in a page would be shown on it.
        assert "sums over the whole queue" not in told
