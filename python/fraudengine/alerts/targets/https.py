"""A POST over https, once: no redirects, no proxies, no cookies, no second try. `gate` says where to."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fraudengine import __version__
from fraudengine.alerts.targets.gate import NETWORK_ERRORS
from fraudengine.alerts.targets.outcome import Accepted, Outcome, Refused, Trouble
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fraudengine.alerts.targets.gate import Attempt, Gate

__all__ = ["Address", "post", "retry_after"]

RETRY_AFTER_SECONDS_MAX = 3_600.0
"""Longest that another side may ask us to wait."""
_PORT = 443
_BODY_BYTES_MAX = 4_096
_LATER = {408, 425, 429}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a webhook is. Its path is a secret, so it is never printed."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, hosts: Collection[str], key: str) -> Address:
        """Return the address that a URL names.

        Raises
        ------
        ConfigError
            It is not https, or its host is not allowed; the message does not hold the URL.

        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORT
        except ValueError:
            raise ConfigError(f"{key}.url is not a URL") from None
        if parts.scheme != "https" or not host or parts.username is not None or parts.fragment:
            raise ConfigError(f"{key}.url must be of the form https://HOST[:PORT]/PATH")
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ConfigError(f"{key}.url has a character in its path that must be written as %XX")
        named = host if port == _PORT else f"{host}:{port}"
        if named not in hosts:
            raise ConfigError(f"{key}.url leads to {named}, which is not in alerts.hosts")
        return cls(host, port, path)


class _Connection(http.client.HTTPSConnection):
    """The standard client, whose connections come through the gate."""

    def __init__(self, address: Address, attempt: Attempt) -> None:
        super().__init__(address.host, address.port, context=attempt.context)
        self._attempt = attempt

    def connect(self) -> None:
        """Connect by the gate."""
        self.sock = self._attempt.secured(self.host, self.port)


def post(gate: Gate, address: Address, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send a body of JSON and return what came of it."""
    told = {
        "Content-Type": "application/json",
        "User-Agent": f"fraudengine/{__version__}",
        "Connection": "close",
        **headers,
    }
    with gate.attempt() as attempt:
        connection = _Connection(address, attempt)
        try:
            connection.request("POST", address.path, body, told)
            response = connection.getresponse()
            status, later = response.status, retry_after(response.headers.get("Retry-After"))
            # What is taken counts, whatever happens to the rest of the answer.
            said = b"" if 200 <= status < 300 else response.read(_BODY_BYTES_MAX)
        except NETWORK_ERRORS as error:
            return attempt.trouble(error, address.host)
        finally:
            connection.close()
    return _outcome(address.host, status, later, said)


def retry_after(text: str | None) -> float | None:
    """Return what a header `Retry-After` means, seconds from now; `None` where it means nothing."""
    if text is None:
        return None
    try:
        if text.strip().isascii() and text.strip().isdigit():
            seconds = float(text.strip()[:9])
        else:
            moment = parsedate_to_datetime(text)
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), RETRY_AFTER_SECONDS_MAX)


def _outcome(host: str, status: int, later: float | None, said: bytes) -> Outcome:
    if 200 <= status < 300:
        return Accepted()
    # A word like `invalid_payload` helps; anything longer may hold what it was sent.
    word = said.decode("ascii", "replace").strip()
    reason = f"{host}: status {status}" + (
        f" ({word})" if word.replace("_", "").isalpha() and len(word) < 40 else ""
    )
    if status in _LATER or status >= 500:
        return Trouble(reason, later)
    if 300 <= status < 400:
        return Refused(f"{reason}: redirects are not followed")
    return Refused(reason)
