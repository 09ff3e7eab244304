"""Log-in by OpenID Connect in a real browser: roles by address and by claim, and who has none is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dashboard_site import browser, dashboard_process
from identity_provider import CLIENT, SECRET, IdentityProvider, identity_provider
from playwright.sync_api import Browser, Page, expect

from fraudengine.services.ports import choose

PATIENCE_MILLIS = 60_000


@pytest.fixture(scope="module")
def shown() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as made:
        yield made


@pytest.fixture(scope="module")
def site(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("oidc")
    port = choose({"dashboard": 0}, {})["dashboard"]
    secrets = folder / "secrets.toml"
    secrets.write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "a secret of this test"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{provider.issuer}/.well-known/openid-configuration"
"""
    )
    away = {"postgres.url": "postgresql://x@127.0.0.1:1/x", "redis.url": "redis://127.0.0.1:1/0"}
    settings: dict[str, Any] = {
        **away,
        "dashboard.port": port,
        "dashboard.oidc_secrets": secrets,
        "dashboard.analysts": ["ann@example.com"],
        "dashboard.role_claim": "fraud_role",
    }
    with dashboard_process(settings, folder / "dashboard") as url:
        yield url


def entered(shown: Browser, url: str) -> Page:
    """Return the page of a new visitor after the log-in at the provider."""
    context = shown.new_context()
    context.set_default_timeout(PATIENCE_MILLIS)
    expect.set_options(timeout=PATIENCE_MILLIS)
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="Log in with your organisation").click()
    return page


def test_an_analyst_by_address_stays_until_log_out(
    shown: Browser, site: str, provider: IdentityProvider
) -> None:
    provider.person = {"sub": "1", "name": "Ann", "email": "ann@example.com", "email_verified": True}
    page = entered(shown, site)
    expect(page.get_by_text("Ann · analyst")).to_be_visible()
    assert {"/authorize", "/token", "/keys"} <= set(provider.asked)
    page.reload()
    expect(page.get_by_text("Ann · analyst")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in with your organisation")).to_be_visible()
    page.context.close()


def test_a_viewer_by_claim(shown: Browser, site: str, provider: IdentityProvider) -> None:
    provider.person = {"sub": "2", "name": "Vic", "fraud_role": ["viewer"]}
    page = entered(shown, site)
    expect(page.get_by_text("Vic · viewer")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("claims", [{}, {"email_verified": False}], ids=["no claim", "not verified"])
def test_who_has_no_role_is_refused(
    shown: Browser, site: str, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    address = {"email": "ann@example.com"} if claims else {"email": "eve@example.com", "email_verified": True}
    provider.person = {"sub": "3", "name": "Eve", **address, **claims}
    page = entered(shown, site)
    expect(page.get_by_text("has no role here")).to_be_visible()
    assert page.get_by_role("link", name="Alerts").count() == 0
    page.context.close()
