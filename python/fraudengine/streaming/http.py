"""The door for operators: metrics, health, status, and the exchange of the model, over HTTP.

It has no password and listens on 127.0.0.1 unless told otherwise. Requests are answered by threads of
their own; a slow reader delays nobody.
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from fraudengine.errors import ConfigError, FraudEngineError

if TYPE_CHECKING:
    from fraudengine.streaming.process import StreamProcess

__all__ = ["OperatorServer"]

_BODY_BYTES_MAX = 65_536


class OperatorServer:
    """Serves until closed.

    Parameters
    ----------
    stream
        The stream to tell about.
    host, port
        Address; port 0 picks a free one.

    Raises
    ------
    ConfigError
        The address cannot be used.

    """

    def __init__(self, stream: StreamProcess, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"stream": stream})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
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


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    stream: ClassVar[StreamProcess]
    server_version = "fraudengine"
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, self.stream.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            alive = self.stream.status()["phase"] != "failed"
            self._told(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, {"alive": alive})
        elif self.path == "/readyz":
            phase = self.stream.status()["phase"]
            ready = phase == "running"
            self._told(
                HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, {"ready": ready, "phase": phase}
            )
        elif self.path == "/model":
            try:
                self._told(HTTPStatus.OK, self.stream.models())
            except FraudEngineError as error:
                self._told(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        elif self.path == "/status":
            self._told(HTTPStatus.OK, self.stream.status())
        else:
            self._told(HTTPStatus.NOT_FOUND, {"error": f"no such page: {self.path}"})

    def do_POST(self) -> None:
        try:
            if self.path == "/snapshot":
                file = self.stream.snapshot()
                self._told(HTTPStatus.OK, {"path": str(file), "bytes": file.stat().st_size})
                return
            if self.path == "/model":
                body = self._body()
                bundle = self.stream.activate(str(body["bundle"]), str(body.get("hash", "")))
            elif self.path == "/model/rollback":
                bundle = self.stream.roll_back()
            else:
                self._told(HTTPStatus.NOT_FOUND, {"error": f"no such page: {self.path}"})
                return
        except (ValueError, KeyError, TypeError) as error:
            self._told(HTTPStatus.BAD_REQUEST, {"error": f'the body must be {{"bundle": PATH}}: {error}'})
        except FraudEngineError as error:
            self._told(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        else:
            self._told(HTTPStatus.OK, {"bundle": str(bundle.path), "bundle_hash": bundle.hash})

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _BODY_BYTES_MAX:
            raise ValueError(f"Content-Length is {length}, must be at most {_BODY_BYTES_MAX}")
        body = json.loads(self.rfile.read(length))
        if not isinstance(body, dict):
            raise TypeError("not an object")
        return body

    def _told(self, status: HTTPStatus, told: dict[str, Any]) -> None:
        self._answer(status, json.dumps(told) + "\n", "application/json")

    def _answer(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: scrapes every few seconds are no news."""
