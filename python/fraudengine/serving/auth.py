"""Who calls, and how often: bearer tokens by client, each with a rate limit.

The file of tokens holds their SHA-256 only, so that reading it lets nobody in:

    [shop]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    calls_per_second = 500
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from fraudengine import _native
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Clients"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Clients:
    """The clients of one file of tokens.

    Parameters
    ----------
    file
        See the module's text.
    key
        Setting that names the file, for errors.

    Raises
    ------
    ConfigError
        The file cannot be read or an entry is wrong.

    """

    def __init__(self, file: Path, key: str = "serve.tokens") -> None:
        try:
            entries = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{key} {file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{key} {file} is not TOML: {error}") from error
        known: list[tuple[bytes, float]] = []
        for name, entry in entries.items():
            digest = entry.get("sha256") if isinstance(entry, dict) else None
            rate = entry.get("calls_per_second") if isinstance(entry, dict) else None
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise ConfigError(f"{key} {file}: {name}.sha256 must be 64 hexadecimal digits")
            if not isinstance(rate, int | float) or not 0 < rate <= 1e9:
                raise ConfigError(f"{key} {file}: {name}.calls_per_second is {rate!r}, must be above 0")
            known.append((bytes.fromhex(digest), float(rate)))
        if not known:
            raise ConfigError(f"{key} {file} names no client")
        self.native = _native.Callers(known)
        """Their tokens and buckets, for a transport that admits calls by itself."""

    def wait_seconds(self, metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
        """Take a call from the bucket of the client whose token the metadata of a call carry.

        Returns 0, or the seconds until there is one when the bucket is empty; None: nobody has this token.
        """
        told = next((value for key, value in metadata if key == "authorization"), "")
        return self.native.admit(told) if isinstance(told, str) else None
