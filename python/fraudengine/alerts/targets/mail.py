"""Messages by mail. Also how a message looks as a mail, which an inbox keeps."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.gate import NETWORK_ERRORS
from fraudengine.alerts.targets.outcome import Accepted, Outcome, Refused, Trouble
from fraudengine.alerts.targets.secrets import secret_of

if TYPE_CHECKING:
    from fraudengine.alerts.message import Message
    from fraudengine.alerts.targets.gate import Attempt, Gate
    from fraudengine.settings_alerts import EmailTarget

__all__ = ["ID_HEADER", "Mail", "as_mail"]

ID_HEADER = "X-Fraudengine-Message"
_PERMANENT = 500


def as_mail(message: Message, sender: str, to: str) -> EmailMessage:
    """Return a message as a mail, the same bytes at every attempt; those of a group are one conversation.

    The library writes headers: a text that could end one is refused there, and `message` has none.
    """
    domain = sender.rpartition("@")[2]
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender, to
    mail["Subject"] = message.title
    mail["Date"] = message.made
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    if message.thread != message.id:
        mail["In-Reply-To"] = mail["References"] = f"<{message.thread}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail[ID_HEADER] = message.id
    mail.set_content(message.text)
    return mail


class Mail:
    """One address behind one mail server.

    Parameters
    ----------
    told
        Its settings.
    gate
        The way to the server.
    key
        Name of its settings, for errors.

    Raises
    ------
    ConfigError
        The file of the password cannot be read.

    """

    def __init__(self, told: EmailTarget, gate: Gate, key: str) -> None:
        self._told = told
        self._password = secret_of(told.password, told.password_file, f"{key}.password")
        self._gate = gate

    def send(self, message: Message) -> Outcome:
        """Send a message."""
        told = self._told
        with self._gate.attempt() as attempt:
            try:
                client = _Client(attempt, told)
                try:
                    self._submit(client, message)
                finally:
                    # Taken or not is known by now: a farewell can only cost time.
                    client.close()
            except smtplib.SMTPRecipientsRefused as error:
                code, _ = next(iter(error.recipients.values()))
                return _outcome(told.host, code, "the recipient")
            except smtplib.SMTPResponseException as error:
                return _outcome(told.host, error.smtp_code, type(error).__name__)
            except NETWORK_ERRORS as error:
                return attempt.trouble(error, told.host)
        return Accepted()

    def _submit(self, client: _Client, message: Message) -> None:
        told = self._told
        if told.security == "starttls":
            client.begin_tls()
        if told.user:
            client.login(told.user, self._password)
        client.send_message(as_mail(message, told.sender, told.to))


class _Client(smtplib.SMTP):
    """The standard client, whose connection comes through the gate."""

    def __init__(self, attempt: Attempt, told: EmailTarget) -> None:
        self._attempt = attempt
        self._tls_first = told.security == "tls"
        self._named = told.host
        super().__init__(
            told.host, told.port, local_hostname=socket.gethostname(), timeout=attempt.left_seconds
        )

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del timeout
        return self._attempt.secured(host, port) if self._tls_first else self._attempt.connect(host, port)

    def begin_tls(self) -> None:
        """Change to TLS, or fail: never go on without."""
        self.ehlo_or_helo_if_needed()
        self.starttls(context=self._attempt)  # type: ignore[call-overload]  # asks it for `wrap_socket` only


def _outcome(host: str, code: int, what: str) -> Outcome:
    reason = f"{host}: code {code} ({what})"
    return Refused(reason) if code >= _PERMANENT else Trouble(reason)
