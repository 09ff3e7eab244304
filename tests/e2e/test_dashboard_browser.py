"""The dashboard in a real browser over a live stream: pages load, numbers move, outages are told and pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from dashboard_site import Site, browser, number, opened, screenshot, site
from playwright.sync_api import Browser, Page, expect
from stream_process import eventually

PASSWORD = "judge"
TABLE = "[data-testid=stDataFrame]"


@pytest.fixture(scope="module")
def shown() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def live(
    shown: Browser, bundle: Path, history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    flags = {"dashboard.analyst_password": PASSWORD, "dashboard.viewer_password": "look"}
    with site(bundle, history, tmp_path_factory.mktemp("site"), flags) as made:
        yield made


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Password").first.fill(password)
    page.get_by_role("button", name="Log in").click()


def metric(page: Page, label: str) -> str:
    card = page.get_by_test_id("stMetric").filter(has_text=label)
    return card.get_by_test_id("stMetricValue").inner_text()


def test_log_in_refuses_then_lets_in_and_a_reload_does_not_ask_again(shown: Browser, live: Site) -> None:
    with opened(shown, f"{live.url}/feed") as page:
        log_in(page, "wrong")
        expect(page.get_by_text("Wrong password")).to_be_visible()
        assert page.get_by_test_id("stSidebar").count() == 0
        screenshot(page, "login")
        log_in(page)
        expect(page.get_by_role("heading", name="Feed")).to_be_visible()
        cookie = "document.cookie.includes('fraudengine_session')"
        page.wait_for_function(cookie)
        page.reload()
        expect(page.get_by_role("heading", name="Feed")).to_be_visible()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Your name")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Your name")).to_be_visible()


def test_the_figures_of_live_move_and_are_those_of_the_stream(shown: Browser, live: Site) -> None:
    with opened(shown, live.url) as page:
        log_in(page)
        expect(page.get_by_test_id("stMetricValue").first).to_be_visible()
        expect(page.get_by_text("Stream", exact=True)).to_be_visible()
        first = metric(page, "Transactions/s")
        eventually(lambda: metric(page, "Transactions/s") != first, 20, "another rate")
        eventually(lambda: 50 <= number(metric(page, "Transactions/s")) <= 400, 90, "about 200 a second")
        assert number(metric(page, "Decision latency p50")) > 0
        expect(page.get_by_test_id("stVegaLiteChart").nth(3)).to_be_attached()
        assert page.get_by_test_id("stException").count() == 0
        screenshot(page, "live")


@pytest.mark.parametrize(("name", "width", "dark"), [("live-dark", 1440, True), ("live-narrow", 420, False)])
def test_live_is_whole_in_the_dark_and_on_a_narrow_screen(
    shown: Browser, live: Site, name: str, width: int, dark: bool
) -> None:
    with opened(shown, live.url, width=width, dark=dark) as page:
        log_in(page)
        expect(page.get_by_test_id("stVegaLiteChart").nth(3)).to_be_attached()
        screenshot(page, name)
        overflow = "document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth"
        assert page.evaluate(overflow) <= 0


def test_a_transaction_is_found_opened_and_explained(shown: Browser, live: Site) -> None:
    with opened(shown, f"{live.url}/feed") as page:
        log_in(page)
        expect(page.locator(TABLE)).to_be_visible()
        screenshot(page, "feed")
        live.now.log.read()
        # The oldest on a map: the newest may not be in PostgreSQL yet.
        decided = [record for _, record in live.now.log.valid if record.action > 1]
        flagged = next(each.transaction for each in decided if each.transaction.HasField("latitude"))
        page.get_by_placeholder("Transaction, customer or merchant id").fill(flagged.transaction_id)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=f"Customer {flagged.customer_id}")).to_be_visible()
        expect(page.get_by_test_id("stVegaLiteChart").nth(1)).to_be_attached()
        assert page.get_by_test_id("stException").count() == 0
        assert f"transaction={flagged.transaction_id}" in page.url
        screenshot(page, "transaction")
        page.get_by_text("As a table").scroll_into_view_if_needed()
        expect(page.get_by_test_id("stVegaLiteChart").nth(2)).to_be_attached()
        screenshot(page, "transaction-map")
        page.get_by_role("button", name="Back to the feed").click()
        expect(page.get_by_role("heading", name=f"Customer {flagged.customer_id}")).to_be_hidden()
        page.get_by_placeholder("Transaction, customer or merchant id").fill("nobody-at-all")
        page.keyboard.press("Enter")
        expect(page.get_by_text("has the id 'nobody-at-all'")).to_be_visible()


@pytest.mark.parametrize(("store", "called"), [("redis", "Redis"), ("postgres", "PostgreSQL")])
def test_an_outage_is_named_and_passes_without_a_reload(
    shown: Browser, live: Site, store: str, called: str
) -> None:
    with opened(shown, live.url) as page:
        log_in(page)
        expect(page.get_by_test_id("stMetricValue").first).to_be_visible()
        page.evaluate("window.stayed = true")
        live.outage.stop(store)
        try:
            expect(page.get_by_text(f"{called} does not answer.")).to_be_visible()
            screenshot(page, f"without-{store}")
        finally:
            live.outage.start(store)
        expect(page.get_by_text(f"{called} does not answer.")).to_be_hidden()
        expect(page.get_by_test_id("stMetricValue").first).to_be_visible()
        assert page.evaluate("window.stayed"), "the page was not loaded again"
