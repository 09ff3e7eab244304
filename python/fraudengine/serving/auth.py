"""Who calls, and how often: bearer tokens by client, each with a rate limit.

The file of tokens holds their SHA-256 only, so that reading it lets nobody in:

    [shop]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    calls_per_second = 500
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import tomllib
from typing import TYPE_CHECKING

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Client", "Clients"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEME = "Bearer "


class Client:
    """One client: its name, and a bucket that fills at its rate and holds one second of it.

    Parameters
    ----------
    name
        As in the file of tokens.
    calls_per_second
        Calls it may make in a second, above 0.

    """

    def __init__(self, name: str, calls_per_second: float) -> None:
        self.name = name
        self._rate = calls_per_second
        self._full = max(1.0, calls_per_second)
        self._left = self._full
        self._at = time.monotonic()

    def wait_seconds(self) -> float:
        """Take one call from the bucket; return 0, or the seconds until there is one when it is empty."""
        now = time.monotonic()
        self._left = min(self._full, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._rate
        self._left -= 1.0
        return 0.0


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
        self._clients: list[tuple[str, Client]] = []
        for name, entry in entries.items():
            digest = entry.get("sha256") if isinstance(entry, dict) else None
            rate = entry.get("calls_per_second") if isinstance(entry, dict) else None
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise ConfigError(f"{key} {file}: {name}.sha256 must be 64 hexadecimal digits")
            if not isinstance(rate, int | float) or not 0 < rate <= 1e9:
                raise ConfigError(f"{key} {file}: {name}.calls_per_second is {rate!r}, must be above 0")
            self._clients.append((digest, Client(name, float(rate))))
        if not self._clients:
            raise ConfigError(f"{key} {file} names no client")

    def of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Client | None:
        """Return the client whose token the metadata of a call carry, if any; in constant time a client."""
        told = next((value for key, value in metadata if key == "authorization"), "")
        if not isinstance(told, str) or not told.startswith(_SCHEME):
            return None
        digest = hashlib.sha256(told.removeprefix(_SCHEME).encode()).hexdigest()
        found = None
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found
