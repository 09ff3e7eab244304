"""Ids of requests, lines of the log, tokens of pages."""

from __future__ import annotations

import json
import os

import pytest

from fraudengine.config import load
from fraudengine.serving.calls import CallLogger, request_id_of
from fraudengine.serving.methods import Time
from fraudengine.serving.page_tokens import place_of, token_of
from fraudengine.serving.refusals import InvalidError
from fraudengine.stores import Filter


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("abc-123", True),
        ("4bf92f3577b34da6a3ce929d0e0e4736", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ("a\nb", False),
        ("caf\u00e9", False),
        ("4111-1111-1111-1111", False),
        (b"bytes", False),
    ],
)
def test_an_id_is_taken_when_it_is_sane(sent: str | bytes, taken: bool) -> None:
    assert request_id_of([("other", "x"), ("x-request-id", sent)]) == (sent if taken else None)
    assert request_id_of(None) is None


def written(form: str, level: str) -> list[str]:
    """Return the lines of a logger of this format and level."""
    reading, writing = os.pipe()
    logger = CallLogger(load(flags={"log.format": form, "log.level": level}).log, writing)
    logger.told("info", {"request_id": "r", "ms": 1.5})
    logger.told("warn", {"request_id": "s"})
    logger.close()
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as file:
        return file.readlines()


def test_lines_have_a_level_and_a_format() -> None:
    told, _ = map(json.loads, written("json", "info"))
    assert (told["level"], told["target"], told["request_id"], told["ms"]) == ("INFO", "call", "r", 1.5)
    (line,) = written("text", "warn")
    assert line.endswith(" WARN call: request_id=s\n")


def test_a_reader_of_lines_that_does_not_read_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    logger = CallLogger(load(flags={"log.format": "json"}).log, writing)
    for number in range(5_000):
        logger.told("info", {"request_id": f"r{number}", "method": "x" * 100})
    with os.fdopen(reading, "rb", buffering=0) as file:
        first = file.read(1_000)
        assert first is not None
        assert b'"r0"' in first
    os.close(writing)


def test_a_token_holds_a_place_for_its_conditions() -> None:
    wanted = Filter(customer_id="c", actions=("block",))
    place = (1_709_251_200_000_000, "t\u00e91")
    token = token_of(place, wanted)
    assert place_of(token, wanted) == place
    assert place_of("", wanted) is None
    for told, other in ((token, Filter(customer_id="d")), (token[:-6], wanted), ("x" * 2_000, wanted)):
        with pytest.raises(InvalidError, match="page_token"):
            place_of(told, other)


def test_time_is_the_callers_or_our_own() -> None:
    assert (Time(None, 5.0).seconds, Time(None, 5.0).is_callers) == (5.0, False)
    assert (Time(1.0, 5.0).seconds, Time(1.0, 5.0).is_callers) == (0.9, True)
    assert (Time(100.0, 5.0).seconds, Time(100.0, 5.0).is_callers) == (5.0, False)
    assert Time(-1.0, 5.0).seconds == 0.0
