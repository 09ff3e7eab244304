"""Every command of README.md and docs/ is run as it stands there, but those named here with a reason.

One folder is read through in the order of the files, README.md first: its `train` makes the model of all.
Sizes that would take minutes are mapped to small ones, and fixed ports and addresses to those of this test.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from compose_file import ROOT
from doc_session import Session
from shell_blocks import commands_of
from small_history import small_history

from fraudengine import config, services
from fraudengine.services import ports

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {
    r"make (demo|test)$": "test_demo.py runs the demonstration; this is part of the test",
    r"(docker compose|export POSTGRES_PASSWORD=)": "no container engine: test_compose_services.py",
    r"scripts/bootstrap_demo\.sh$": "no container engine: test_bootstrap.py",
    r"fraudengine spark (run|sinks|replay)": "needs pyspark and Java, or runs on: test_spark.py",
    r"(fraudengine (stream|health) .*\b9465\b|kill -TERM )": "a process to replace: test_stream_takeover.py",
    r"grpcurl .*(scoring:50051|-import-path)": "needs files of a deployment",
}
"""Commands that are not run here, and why."""
SCENARIO = """
title = "Small"
play_days = 5
world = { seed = 1, customers = 300, merchants = 200, start = 2025-11-01, days = 30, fraud_rate = 0.03 }
training = { trees = 10 }
"""


@dataclass
class Book:
    """The folder that all files are read in."""

    folder: Path
    mapped: dict[str, str]

    def broker(self) -> str:
        """Return the address of Kafka, for where a reader puts in their own."""
        settings = config.load(self.folder / "fraudengine.toml")
        running = services.running(self.folder / ".fraudengine/services")
        assert running is not None, "fraudengine up comes first"
        return settings.resolved(running, only=["kafka"]).kafka.brokers


@pytest.fixture(scope="module")
def book() -> Iterator[Book]:
    """Make the folder with what a reader has: a history, payments, settings with free ports."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-docs-") as made:
        # As root, Postgres runs as another user, who must be able to enter.
        Path(made).chmod(0o711)
        folder = Path(made) / "book"
        folder.mkdir(mode=0o711)
        names = ("http", "serve", "dashboard", "9465", "9466", "50052")
        free = ports.choose(dict.fromkeys(names, 0), {})
        history = small_history()
        history.write_parquet(folder / "history.parquet")
        _payments(history).write_csv(folder / "payments.csv")
        (folder / "small.toml").write_text(SCENARIO, encoding="utf-8")
        (folder / "payments.jsonl").write_text(_payment(), encoding="utf-8")
        (folder / "demo").mkdir()
        for place in (folder, folder / "demo"):
            (place / "fraudengine.toml").write_text(_settings(free), encoding="utf-8")
        mapped = {
            "127.0.0.1:50051": f"127.0.0.1:{free['serve']}",
            **{f"port={name}": f"port={free[name]}" for name in ("9465", "9466", "50052")},
            "127.0.0.1:50052": f"127.0.0.1:{free['50052']}",
            "holiday-weekend": "small.toml",
            "--tps 1000 --seconds 60": "--tps 200 --seconds 2 --customers 300",
            "--requests 10000 --concurrency 200": "--requests 200 --concurrency 20",
            "--requests 2000": "--requests 20",
            "--rate 1000 --seconds 30": "--rate 100 --seconds 1",
            "$PWD/models/november": "$PWD/other",
        }
        try:
            yield Book(folder, mapped)
        finally:
            services.down(folder / ".fraudengine/services")


def _payments(history: pl.DataFrame) -> pl.DataFrame:
    """Return a history as somebody else might have it."""
    return history.select(
        "transaction_id",
        "event_time",
        "customer_id",
        "currency",
        terminal="merchant_id",
        total=pl.col("amount_minor").map_elements(lambda cents: f"{cents / 100:.2f}", pl.String),
        chargeback="is_fraud",
    )


def _payment() -> str:
    now = datetime.now(UTC) - timedelta(seconds=5)
    row = {"transaction_id": "d1", "event_time": now.isoformat(), "customer_id": "c1", "amount_minor": 1999}
    return json.dumps(row) + "\n"


def _settings(free: dict[str, int]) -> str:
    sections = [f"[{name}]\nport = {free[name]}" for name in ("http", "serve", "dashboard")]
    targets = [f'[alerts.targets.{name}]\nkind = "inbox"\nfolder = "{name}"' for name in ("on-call", "desk")]
    return "\n\n".join([*sections, *targets]) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_its_commands_do_what_they_say(book: Book, file: Path) -> None:
    texts = [each.text for each in commands_of(file)]
    here = [text for text in texts if not any(re.match(pattern, text) for pattern in ELSEWHERE)]
    if shutil.which("grpcurl") is None:
        here = [text for text in here if not text.startswith("grpcurl ")]
    # Stopped last, whatever the text explains first.
    ordered = sorted(here, key=lambda text: text.startswith("fraudengine down"))
    session = Session(book.folder, Path(sys.executable).parent, book.mapped)
    try:
        if file.name != "README.md" and "fraudengine up --detach" not in ordered:
            session.run("fraudengine up --detach")
        for text in ordered:
            if "HOST:PORT" in text:
                text = text.replace("HOST:PORT", book.broker())
            session.run(text)
            if text.startswith("fraudengine train"):
                # Another model, for those that activate one.
                session.run(text.replace("--out model", "--seed 8 --out other"))
        session.end()
    finally:
        session.close()


def test_the_python_of_the_readme_runs(book: Book) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=book.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_exceptions_are_about_commands_that_stand_somewhere() -> None:
    texts = [each.text for file in FILES for each in commands_of(file)]
    for pattern in ELSEWHERE:
        assert any(re.match(pattern, text) for text in texts), pattern
