"""A real mail server for tests: TLS from the start or by STARTTLS, a password, and answers as told."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from fraudengine.alerts.targets.mail import ID_HEADER
from fraudengine.services.ports import HOST, choose

__all__ = ["PASSWORD", "USER", "MailBox", "free_port", "mail_server"]

USER, PASSWORD = "alerts", "hush-hush"


@dataclass
class MailBox:
    """What came, over restarts of the server; `answer` may be replaced at any time."""

    answer: Callable[[int], str] = lambda _number: "250 OK"
    calls: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ids(self) -> Counter[str]:
        """Return how often each message was taken."""
        return Counter(mail[ID_HEADER] for mail in self.mails)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail, or not."""
        with self.lock:
            self.calls += 1
            answer = self.answer(self.calls)
            if answer.startswith("2"):
                assert isinstance(envelope.content, bytes)
                mail = message_from_bytes(envelope.content, policy=default)
                assert isinstance(mail, EmailMessage)
                self.mails.append(mail)
                self.secured.append(session.ssl is not None or server.tls_context is None)
        return answer


def free_port() -> int:
    """Return a port that is free now, and that nobody else is given soon."""
    return choose({"smtp": 0}, {})["smtp"]


@contextmanager
def mail_server(
    box: MailBox, port: int, context: ssl.SSLContext | None, *, tls_first: bool = False, login: bool = False
) -> Iterator[None]:
    """Run a server; without a context it has no TLS at all."""

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)

    more: dict[str, Any] = {"ssl_context": context} if tls_first else {"tls_context": context}
    if login:
        more |= {"authenticator": check, "auth_required": True, "auth_require_tls": not tls_first}
    server = Controller(
        box, hostname=HOST, port=port, require_starttls=bool(context) and not tls_first, **more
    )
    server.start()
    try:
        yield
    finally:
        server.stop()
