"""The dashboard as people meet it: a stream under load, its stores, `fraudengine dashboard`, a real browser.

The services are of its own, so that a test may stop them. Screenshots are kept in the folder that
`FRAUDENGINE_SCREENSHOTS` names, else in `build/screenshots`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from store_rows import ROOT
from stream_process import eventually
from stream_topics import new_topics

from outages import Outage, Running, own_services

__all__ = ["Site", "browser", "dashboard_process", "number", "opened", "screenshot", "site"]

_CHROMIUM_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_COMMAND = [sys.executable, "-c", "from fraudengine.cli import main; main()", "dashboard", "--json"]
_START_SECONDS = 180
PATIENCE_MILLIS = 30_000
"""How long a test waits for something to appear."""


@dataclass
class Site:
    """What runs.

    Attributes
    ----------
    url
        Address of the dashboard.
    outage
        Starts and stops the services.
    now
        The stream and its load.

    """

    url: str
    outage: Outage
    now: Running


class _Endless(Outage):
    """A load in which no transaction comes twice."""

    def frame(self) -> pl.DataFrame:
        """Return the history again and again, each time under new ids and later by its length."""
        first, last = self.history["event_time"].min(), self.history["event_time"].max()
        rounds = -(-int(self.rate * (self.seconds + 180)) // self.history.height)
        return pl.concat(
            self.history.with_columns(
                pl.col("transaction_id") + f"-{number}",
                pl.col("event_time") + (pl.lit(last) - pl.lit(first)) * number,
            )
            for number in range(rounds)
        )


@contextmanager
def site(
    bundle: Path, history: pl.DataFrame, folder: Path, flags: Mapping[str, object] | None = None
) -> Iterator[Site]:
    """Yield a dashboard over a stream that decides 200 transactions a second."""
    with own_services() as (services_folder, fresh):
        topics = new_topics(fresh, folder)
        outage = _Endless(services_folder, fresh, topics, bundle, history, seconds=400, rate=200)
        with outage.running(engine__features="all") as now:
            settings: dict[str, object] = {
                **topics.settings(),
                "postgres.enabled": True,
                "postgres.url": now.postgres_url,
                "redis.enabled": True,
                "redis.url": now.redis_url,
                "engine.features": "all",
                "dashboard.stream": now.stream.client().url,
                **(flags or {}),
            }
            with dashboard_process(settings, folder / "dashboard") as url:
                yield Site(url, outage, now)


@contextmanager
def dashboard_process(settings: Mapping[str, object], folder: Path) -> Iterator[str]:
    """Yield the address of `fraudengine dashboard` with these settings; it must end in order afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"dashboard.port": 0, **settings}
    options = [
        part
        for name, value in given.items()
        for part in (
            "--set",
            f"{name}={json.dumps(value) if isinstance(value, bool | dict | list) else value}",
        )
    ]
    out, log = folder / "dashboard.out", folder / "dashboard.log"
    with out.open("wb") as told, log.open("wb") as said:
        process = subprocess.Popen([*_COMMAND, *options], stdout=told, stderr=said, cwd=folder)
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            return out.read_text().endswith("}\n")

        eventually(answers, _START_SECONDS, "a dashboard that answers")
        yield str(json.loads(out.read_text())["address"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield Chromium; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium on PATH")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=_CHROMIUM_OPTIONS)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def opened(
    shown: Browser, url: str, *, width: int = 1440, height: int = 1100, dark: bool = False
) -> Iterator[Page]:
    """Yield a page of a new visitor; whatever it asks another host for fails the test."""
    context = shown.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        timezone_id="Europe/Berlin",
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE_MILLIS)
    expect.set_options(timeout=PATIENCE_MILLIS)
    page = context.new_page()
    foreign: list[str] = []
    host = url.split("/")[2]
    page.on(
        "request",
        lambda each: (
            foreign.append(each.url)
            if each.url.startswith("http") and each.url.split("/")[2] != host
            else None
        ),
    )
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert foreign == [], "everything is local"


def screenshot(page: Page, name: str) -> Path:
    """Keep a picture of a page."""
    folder = Path(os.environ.get("FRAUDENGINE_SCREENSHOTS") or ROOT / "build/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.png"
    page.screenshot(path=file)
    return file


def number(text: str) -> float:
    """Return the first number of a text with thousands separators."""
    found = re.search(r"-?[\d,]+(\.\d+)?", text)
    assert found is not None, f"no number in {text!r}"
    return float(found.group().replace(",", ""))
