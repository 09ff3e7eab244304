"""`examples/checkout.py` as a process beside a scoring server: paid, held, refused, and without an answer."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scoring_server import running
from small_bundle import small_bundle
from small_history import small_history

from fraudengine.training import BoosterOptions, ForestOptions

EXAMPLE = Path(__file__).parents[2] / "examples/checkout.py"
TIMEOUT_SECONDS = 30.0


@contextmanager
def checkout(scoring: str) -> Iterator[str]:
    """Yield the address of a checkout that runs until the block ends."""
    command = [sys.executable, str(EXAMPLE), "--scoring", scoring, "--port", "0", "--deadline", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
            process.terminate()
            assert process.wait(TIMEOUT_SECONDS) == 0
        finally:
            process.kill()


def pay(address: str, **order: str) -> tuple[int, dict[str, Any]]:
    full = {"order": "1", "customer": "c1", "card": "tok_1", "amount": "19.99", "currency": "EUR", **order}
    try:
        with urllib.request.urlopen(address, json.dumps(full).encode(), TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_it_asks_before_it_takes_a_payment(tmp_path: Path) -> None:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    bundle = small_bundle(small_history(), tmp_path / "model", booster, forest)
    with running(bundle) as server, checkout(server.address) as address:
        code, told = pay(address)
        assert (code, told["id"]) == (200, "order-1")
        assert told["status"] == "paid"
        code, told = pay(address, order="2", amount="19.999")
        assert (code, told["field"]) == (400, "amount")
        code, told = pay(address, order="3", customer="4111 1111 1111 1111")
        assert (code, told["field"]) == (400, "customer_id")
        assert "4111" not in told["error"]


def test_without_an_answer_it_decides_by_amount() -> None:
    with checkout("127.0.0.1:1") as address:
        assert pay(address, amount="49.99") == (200, {"id": "order-1", "status": "paid", "scored": False})
        assert pay(address, amount="50.00")[0] == 202
        assert pay(address, amount="1.00", currency="USD")[0] == 202
