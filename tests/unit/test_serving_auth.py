"""Tokens and rates of clients."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fraudengine.errors import ConfigError
from fraudengine.serving.auth import Client, Clients


def test_a_token_is_its_client(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    digests = {name: hashlib.sha256(f"token of {name}".encode()).hexdigest() for name in ("shop", "bank")}
    file.write_text("".join(f'[{n}]\nsha256 = "{d}"\ncalls_per_second = 5\n' for n, d in digests.items()))
    clients = Clients(file)
    found = [
        clients.of([("authorization", told)])
        for told in ("Bearer token of bank", "Bearer nobody's", "token of bank", "Bearer ", b"Bearer x")
    ]
    assert [client.name if client else None for client in found] == ["bank", None, None, None, None]
    assert clients.of([]) is None


def test_the_bucket_holds_one_second() -> None:
    client = Client("shop", 3.0)
    assert [client.wait_seconds() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert 0 < client.wait_seconds() <= 1 / 3


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
