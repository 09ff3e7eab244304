"""Tokens and rates of clients."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fraudengine.errors import ConfigError
from fraudengine.serving.auth import Clients


def test_a_token_is_its_client(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    digests = {name: hashlib.sha256(f"token of {name}".encode()).hexdigest() for name in ("shop", "bank")}
    file.write_text("".join(f'[{n}]\nsha256 = "{d}"\ncalls_per_second = 5\n' for n, d in digests.items()))
    clients = Clients(file)
    told = ("Bearer token of bank", "Bearer nobody's", "token of bank", "Bearer ", b"Bearer token of bank")
    waits = [clients.wait_seconds([("authorization", each)]) for each in told]
    assert waits == [0.0, None, None, None, None]
    assert clients.wait_seconds([]) is None


def test_the_bucket_holds_one_second(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"token").hexdigest()
    file.write_text(f'[shop]\nsha256 = "{digest}"\ncalls_per_second = 3\n')
    clients = Clients(file)
    waits = [clients.wait_seconds([("authorization", "Bearer token")]) for _ in range(4)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3] is not None
    assert 0 < waits[3] <= 1 / 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[shop", "is not TOML"),
        ("", "names no client"),
        ("[shop]\nsha256 = 'abc'\ncalls_per_second = 1", r"shop\.sha256 must be 64"),
        (f"[shop]\nsha256 = '{'a' * 64}'\ncalls_per_second = 0", r"shop\.calls_per_second is 0"),
        (f"[shop]\nsha256 = '{'a' * 64}'", r"shop\.calls_per_second is None"),
    ],
)
def test_a_wrong_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        Clients(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        Clients(tmp_path / "none.toml")
