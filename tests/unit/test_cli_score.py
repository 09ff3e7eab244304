"""How `fraudengine score` reads transactions, and where it finds token and address."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest

from fraudengine.cli.score import read_transactions
from fraudengine.cli.scoring_options import address_of, tls_of, token_of
from fraudengine.config import load
from fraudengine.errors import ConfigError, InputError


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1.10}\n{"a": 2, "is_fraud": 1}\n',
        '\n\n{"a":\n 1.10}\n\n{"a": 2}',
        '{"a": 1.10}{"a": 2}',
        '[{"a": 1.10}, {"a": 2, "typology": null}]',
        '\n [\n{"a": 1.10},\n{"a": 2}]\n',
    ],
)
def test_one_after_the_other_or_a_list(text: str) -> None:
    assert list(read_transactions(io.StringIO(text), "x")) == [{"a": Decimal("1.10")}, {"a": 2}]


def test_a_transaction_is_read_before_the_next_one_is_there() -> None:
    text = io.StringIO('{"a": 1}\n{"a": 2}\nwrong')
    transactions = read_transactions(text, "x")
    assert [next(transactions), next(transactions)] == [{"a": 1}, {"a": 2}]
    assert text.read() == "wrong"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\nnothing', "x, line 2: Expecting value"),
        ('{"a": 1', "x ends inside a transaction"),
        ("7", "x, line 1: a transaction must be an object, is of type int"),
        ('[{"a": 1}, [2]]', "x, entry 2: a transaction must be an object, is of type list"),
        ('[{"a": 1}', "x: Expecting ',' delimiter"),
        ('{"a": "' + "b" * 70_000, "x, line 1: Unterminated string"),
    ],
)
def test_what_is_no_transaction_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_transactions(io.StringIO(text), "x"))


def test_where_the_token_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    monkeypatch.delenv("FRAUDENGINE_TOKEN", raising=False)
    assert token_of(None) is None
    monkeypatch.setenv("FRAUDENGINE_TOKEN", "open")
    assert token_of(None) == "open"
    with pytest.raises(ConfigError, match="cannot be read"):
        token_of(file)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        token_of(file)
    file.write_text("sesame\n")
    assert token_of(file) == "sesame"


def test_where_the_address_comes_from() -> None:
    assert address_of("there:1", load(flags={"serve.port": 0})) == "there:1"
    assert address_of(None, load(flags={"serve.port": 5})) == "127.0.0.1:5"
    with pytest.raises(ConfigError, match="give --address"):
        address_of(None, load(flags={"serve.port": 0}))


def test_any_option_of_tls_encrypts(tmp_path: Path) -> None:
    assert tls_of(asked=False, ca=None, certificate=None, key=None, name=None) is None
    assert tls_of(asked=True, ca=None, certificate=None, key=None, name=None)
    assert tls_of(asked=False, ca=tmp_path, certificate=None, key=None, name=None)
