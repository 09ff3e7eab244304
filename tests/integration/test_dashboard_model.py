"""The page Model over a real database and a trained bundle: model in force, thresholds, days, drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import streamlit as st
from dashboard import all_text, page
from service_stack import Fresh
from small_bundle import scoring_bundle
from store_rows import add_alerts, add_days, add_transactions, made_tables
from streamlit.testing.v1 import AppTest

from fraudengine import _native
from fraudengine.bundle import Bundle
from fraudengine.config import Settings

DAY = datetime.now(UTC).date() - timedelta(days=10)
FEATURES = 76


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def settings(fresh: Fresh, bundle: Path) -> Settings:
    made = fresh.settings({"dashboard.bundle": bundle})
    url = made.postgres.url
    made_tables(url)
    add_days(url, DAY, 10)
    add_transactions(
        url,
        f"SELECT '{DAY} 00:00+00'::timestamptz + make_interval(secs => n * 60), 't' || n, "
        "'c', 'm', 1::smallint, 0.01::real FROM generate_series(0, 999) AS n",
    )
    add_alerts(
        url,
        f"SELECT '{DAY} 01:00+00'::timestamptz + make_interval(secs => n), 'a' || n, 'c', 'm', NULL::text, "
        "3::smallint, 0.9::real, 5000::bigint, NULL::text FROM generate_series(0, 19) AS n",
    )
    signed = [int(name[:16], 16) for name in (Bundle.load(bundle).hash, _native.catalogue_hash())]
    signed = [each - 2**64 if each >= 2**63 else each for each in signed]
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE transactions SET model = %s, catalogue = %s", signed)
        connection.execute(
            f"UPDATE transactions SET features = array_fill(1::real, ARRAY[{FEATURES}])".encode()
        )
        connection.execute(
            "INSERT INTO labels SELECT transaction_id, event_time, customer_id, amount_minor, currency, "
            "true, event_time, 0, NULL FROM transactions WHERE transaction_id IN ('a1', 'a2', 'a3', 't5')"
        )
    st.cache_resource.clear()
    st.cache_data.clear()
    return made


def section(app: AppTest, name: str) -> Any:
    """Open a section; return its table."""
    app.session_state["section"] = name
    app.run()
    assert not app.exception
    return app.dataframe[0].value


def test_the_page_tells_model_thresholds_days_and_drift(settings: Settings) -> None:
    with page(settings, "model") as app:
        assert not app.exception
        told = all_text(app)
        assert "It is the bundle below" in told
        app.slider(key="t-threshold").set_value(0.5).run()
        figures = {each.label: each.value for each in app.metric}
        assert figures["Detection rate"] == "75.0%"
        assert figures["Precision"] == "15.0%"
        assert "4 labelled frauds among 1,020 transactions" in all_text(app)
        days = section(app, "Precision and recall")
        assert days[["alerts", "frauds", "caught"]].to_numpy().tolist() == [[20, 4, 3]]
        assert len(section(app, "Drift")) == FEATURES
        assert "validation" in list(section(app, "Evaluation")["window"])
        app.session_state["section"] = "Threshold"
        app.run()
        app.segmented_control(key="t-source").set_value("Held out in training").run()
        assert "of the validation window" in all_text(app)


def test_another_model_is_told(settings: Settings) -> None:
    with psycopg.connect(settings.postgres.url) as connection:
        connection.execute("UPDATE transactions SET model = 5")
    with page(settings, "model") as app:
        assert "**another** model" in all_text(app)


def test_features_of_flagged_decisions_alone_are_no_drift(settings: Settings) -> None:
    with psycopg.connect(settings.postgres.url) as connection:
        connection.execute("UPDATE transactions SET features = NULL WHERE action = 1")
    with page(settings, "model") as app:
        section(app, "Drift")
        assert "this is no drift" in all_text(app)


def test_without_bundle_and_rows_the_page_says_so(fresh: Fresh) -> None:
    made = fresh.settings()
    made_tables(made.postgres.url)
    with page(made, "model") as app:
        assert not app.exception
        assert "`dashboard.bundle` names no folder" in all_text(app)
