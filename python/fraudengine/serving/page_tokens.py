"""Tokens of pages: where a page ended, for one set of conditions. They hold no secret and give no right."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING

from fraudengine.schema import EVENT_TIME_MAX_MICROS
from fraudengine.serving.refusals import InvalidError

if TYPE_CHECKING:
    from fraudengine.stores.history import Filter, Place

__all__ = ["place_of", "token_of"]

_BYTES_MAX = 1_024


def token_of(place: Place, wanted: Filter) -> str:
    """Return the token of the page behind a place."""
    told = json.dumps([_of(wanted), *place]).encode()
    return base64.urlsafe_b64encode(told).decode()


def place_of(token: str, wanted: Filter) -> Place | None:
    """Return the place of a token; `None` of an empty one.

    Raises
    ------
    InvalidError
        It is no token of these conditions.

    """
    if not token:
        return None
    refused = InvalidError("page_token", "UNKNOWN", "page_token is not one of a page with these conditions")
    if len(token) > _BYTES_MAX:
        raise refused
    try:
        conditions, micros, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise refused from error
    if conditions != _of(wanted) or not isinstance(micros, int) or not isinstance(name, str):
        raise refused
    if not 0 <= micros <= EVENT_TIME_MAX_MICROS or "\0" in name:
        raise refused
    return micros, name


def _of(wanted: Filter) -> str:
    return hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]
