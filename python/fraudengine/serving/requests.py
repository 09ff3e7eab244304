"""What a request may say: each field is checked, the one at fault is named; card numbers are never shown."""

from __future__ import annotations

import time
import unicodedata
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from fraudengine import _native
from fraudengine.schema import EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS
from fraudengine.serving.refusals import InvalidError
from fraudengine.stores.records import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "actions",
    "count",
    "event_time",
    "optional_text",
    "parsed",
    "score",
    "text",
]

TEXT_BYTES_MAX = 128
_SHOWN_CHARACTERS = 40

M = TypeVar("M", bound=Message)


def parsed(kind: type[M], request: bytes) -> M:
    """Return the message of these bytes.

    Raises
    ------
    InvalidError
        They are none.

    """
    try:
        message: M = kind.FromString(request)
    except DecodeError as error:
        raise InvalidError("", "MALFORMED", "the request is not a message of this method") from error
    return message


def text(value: str, field: str, *, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return a text that must be there: without control characters, and no card number."""
    length = len(value.encode())
    if length == 0:
        raise InvalidError(field, "MISSING", f"{field} is required and missing")
    if length > bytes_max:
        raise InvalidError(field, "TOO_LONG", f"{field} has {length} bytes, at most {bytes_max}")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidError(field, "CONTROL_CHARACTER", f"{field} holds a control character")
    if _native.is_card_number(value):
        raise InvalidError(field, "CARD_NUMBER", f"{field} looks like a card number; send a token instead")
    return value


def optional_text(message: Message, name: str, field: str = "") -> str | None:
    """Return an optional text of a message, `None` when it is unset; `field` is its name for people."""
    return text(getattr(message, name), field or name) if message.HasField(name) else None


def event_time(micros: int, field: str) -> int:
    """Return a time in the range of event times."""
    if not EVENT_TIME_MIN_MICROS <= micros < EVENT_TIME_MAX_MICROS:
        raise InvalidError(field, "TIME_OUT_OF_RANGE", f"{field} is {micros}, must be in 2000 to 2100")
    return micros


def optional_time(message: Message, name: str) -> int | None:
    """Return an optional time of a message, `None` when it is unset."""
    return event_time(getattr(message, name), name) if message.HasField(name) else None


def count(value: int, field: str, default: int, most: int) -> int:
    """Return a count from 1 to `most`; 0 is the default."""
    if not 0 <= value <= most:
        raise InvalidError(field, "OUT_OF_RANGE", f"{field} is {value}, must be 1 to {most}")
    return value or default


def score(message: Message, name: str, field: str = "") -> float | None:
    """Return an optional score of a message, 0 to 1; `None` when it is unset."""
    if not message.HasField(name):
        return None
    value: float = getattr(message, name)
    if not 0 <= value <= 1:
        field = field or name
        raise InvalidError(field, "OUT_OF_RANGE", f"{field} is {value:g}, must be 0 to 1")
    return value


def actions(codes: Sequence[int], field: str) -> tuple[str, ...]:
    """Return the names of actions."""
    if len(codes) > len(ACTIONS):
        raise InvalidError(field, "COUNT", f"{field} has {len(codes)} entries, at most {len(ACTIONS)}")
    for code in codes:
        if not 1 <= code <= len(ACTIONS):
            raise InvalidError(field, "UNKNOWN", f"{field} has {code}, which is no action")
    return tuple(ACTIONS[code - 1] for code in codes)


def now_micros() -> int:
    """Return the time of the service."""
    return time.time_ns() // 1_000
