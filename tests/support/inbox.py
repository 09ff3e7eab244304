"""An inbox of the alert service, read as any program of mail reads it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

__all__ = ["mails"]


def mails(folder: Path) -> list[EmailMessage]:
    """Return what is in an inbox, the oldest first."""
    return [
        email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        for file in sorted(folder.glob("*.eml"))
    ]
