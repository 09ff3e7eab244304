"""Talks to a running stream through its door for operators."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self, cast

from fraudengine.errors import StreamError, StreamRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from fraudengine.config import Settings

__all__ = ["OperatorClient"]

_TIMEOUT_SECONDS = 60.0


class OperatorClient:
    """A client of one stream.

    Parameters
    ----------
    url
        Its address, `http://HOST:PORT`.
    seconds
        Longest wait for an answer.

    """

    def __init__(self, url: str, *, seconds: float = _TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._seconds = seconds

    @classmethod
    def of(cls, settings: Settings, url: str | None = None, *, seconds: float = _TIMEOUT_SECONDS) -> Self:
        """Return a client of the given address, or of the one that the settings name."""
        return cls(url or f"http://{settings.http.host}:{settings.http.port}", seconds=seconds)

    def status(self) -> dict[str, Any]:
        """Return the stream's status.

        Raises
        ------
        StreamError
            Nobody answers, or the answer is an error.

        """
        return self._call("/status")

    def models(self) -> dict[str, Any]:
        """Return the `active` model and the `previous` one, which may be `None`; raises as `status`."""
        return self._call("/model")

    def activate(self, bundle: Path, wanted_hash: str = "") -> dict[str, Any]:
        """Ask for another model, which must have the hash unless that is empty; raises as `status`."""
        return self._call("/model", {"bundle": str(bundle.absolute()), "hash": wanted_hash})

    def roll_back(self) -> dict[str, Any]:
        """Ask for the model before; raises as `status`."""
        return self._call("/model/rollback", {})

    def snapshot(self) -> dict[str, Any]:
        """Have a snapshot written now; return its file and length; raises as `status`."""
        return self._call("/snapshot", {})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                raise StreamRefusedError(_reason(error)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise StreamError(f"no stream answers at {self.url}: {reason}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
