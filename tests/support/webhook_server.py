"""An https server that webhooks are sent to: it takes them, or misbehaves as told, and remembers them."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from secured import Authority

from fraudengine.services.ports import HOST

__all__ = ["Answer", "Call", "WebhookServer", "webhook_server"]


@dataclass(frozen=True)
class Answer:
    """What the server does with a call.

    Attributes
    ----------
    status
        0: it never answers, until it is closed.
    headers
        Of the answer.
    taken
        Whether it counts as taken; None: where the status is 2xx.
    drip
        Answer a byte each 50 ms, for ever.

    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    taken: bool | None = None
    drip: bool = False


@dataclass(frozen=True)
class Call:
    """What was taken."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.body)


@dataclass
class WebhookServer:
    """A server that runs; `answer` may be replaced at any time and is called with the number of the call."""

    port: int
    answer: Callable[[int], Answer] = lambda _number: Answer()
    calls: int = 0
    taken: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where webhooks go; the path is a secret."""
        return f"https://localhost:{self.port}/hidden-path"

    @property
    def host(self) -> str:
        """As in `alerts.hosts`."""
        return f"localhost:{self.port}"

    def alerts(self) -> Counter[str]:
        """Return the alerts told of by subject, each message once."""
        told: Counter[str] = Counter()
        for body in {call.json()["id"]: call.json() for call in self.taken}.values():
            told[f"{body['group']['by']}:{body['group']['value']}"] += body["alerts"]
        return told

    def ids(self) -> Counter[str]:
        """Return how often each message was taken."""
        return Counter(call.json()["id"] for call in self.taken)


class _Handler(BaseHTTPRequestHandler):
    told: ClassVar[WebhookServer]
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = self.told
        with told.lock:
            told.calls += 1
            answer = told.answer(told.calls)
            if answer.taken or (answer.taken is None and 200 <= answer.status < 300):
                told.taken.append(Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if answer.drip:
            while not told.closed.wait(0.05):
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return
        if answer.status == 0:
            told.closed.wait(60)
            return
        try:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        except OSError:
            # The caller may be gone: killed, or out of patience.
            return

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: callers that refuse the certificate, or are killed, are what is tested."""


@contextmanager
def webhook_server(context: ssl.SSLContext) -> Iterator[WebhookServer]:
    """Run a server with a certificate; yield it."""
    told = WebhookServer(0)
    server = _Server((HOST, 0), type("Handler", (_Handler,), {"told": told}))
    told.port = server.server_address[1]
    # The handshake is done by the thread of the call, so that one that hangs holds nobody up.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, name="webhook-server")
    thread.start()
    try:
        yield told
    finally:
        told.closed.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def authority_server(authority: Authority) -> ssl.SSLContext:
    """Return what a server called localhost needs."""
    return authority.server("localhost")
