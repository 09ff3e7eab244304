"""A door for operators: a small HTTP server beside the real work, for metrics, health and status.

It has no password and listens where `[http]` says, on 127.0.0.1 unless told otherwise. Requests are answered
by threads of their own; a slow reader delays nobody.
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from fraudengine.settings import HttpSettings

__all__ = ["METRICS_TYPE", "Door", "Visitor"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of a page for Prometheus."""


class Visitor(BaseHTTPRequestHandler):
    """Answers one request; what is derived from it says what."""

    server_version = "fraudengine"
    timeout = 10

    def told(self, status: HTTPStatus, told: dict[str, Any]) -> None:
        """Answer with JSON."""
        self.answer(status, json.dumps(told) + "\n", "application/json")

    def healthy(self, yes: bool, told: dict[str, Any]) -> None:
        """Answer with JSON, and with a status that says whether all is well."""
        self.told(HTTPStatus.OK if yes else HTTPStatus.SERVICE_UNAVAILABLE, told)

    def lost(self) -> None:
        """Answer that there is no such page."""
        self.told(HTTPStatus.NOT_FOUND, {"error": f"no such page: {self.path}"})

    def answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        """Answer with a text."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: scrapes every few seconds are no news."""


class Door:
    """Serves until closed.

    Parameters
    ----------
    visitor
        Class that answers a request.
    settings
        Address; port 0 picks a free one.

    Raises
    ------
    ConfigError
        The address cannot be used.

    """

    def __init__(self, visitor: type[Visitor], settings: HttpSettings) -> None:
        host, port = settings.host, settings.port
        try:
            self._server = ThreadingHTTPServer((host, port), visitor)
        except OSError as error:
            raise ConfigError(f"http.host and http.port: {host}:{port}: {error.strerror}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="operators", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`http://HOST:PORT`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
