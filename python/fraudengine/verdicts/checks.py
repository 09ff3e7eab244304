"""What may be kept of a verdict: how many at once, which texts. A card number is refused in any of them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from fraudengine import _native
from fraudengine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AT_ONCE_MAX", "NOTE_CHARACTERS_MAX", "checked_names", "checked_text"]

AT_ONCE_MAX = 1_000
"""Most transactions decided about in one go."""
NOTE_CHARACTERS_MAX = 2_000
"""Longest note."""


def checked_text(value: str, field: str, characters_max: int) -> str:
    """Return a text as it may be stored.

    Raises
    ------
    InputError
        It is empty, too long, holds a control character other than a line break, or a card number.

    """
    if not value.strip():
        raise InputError(f"{field} is empty")
    if len(value) > characters_max:
        raise InputError(f"{field} has {len(value)} characters, at most {characters_max}")
    if any(unicodedata.category(each) == "Cc" and each != "\n" for each in value):
        raise InputError(f"{field} holds a control character")
    if any(_native.is_card_number(each) for each in [value, *value.split()]):
        raise InputError(f"{field} holds what looks like a card number; leave it out")
    return value


def checked_names(names: Sequence[str], actor: str, note: str | None) -> list[str]:
    """Return the ids each once; actor and note are checked too.

    Raises
    ------
    InputError
        There are none or too many, or a text cannot be stored.

    """
    unique = list(dict.fromkeys(names))
    if not 0 < len(unique) <= AT_ONCE_MAX:
        raise InputError(f"transactions are {len(unique)}, must be 1 to {AT_ONCE_MAX}")
    checked_text(actor, "actor", 128)
    if note is not None:
        checked_text(note, "note", NOTE_CHARACTERS_MAX)
    return unique
