"""What came of an attempt to send. Reasons are one line for people and never hold a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fraudengine.alerts.message import Message

__all__ = ["Accepted", "Outcome", "Refused", "Target", "Trouble"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The other side has taken the message."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """It has not, or nobody knows. A later attempt may succeed, after `retry_seconds` if it said so."""

    reason: str
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It never will take it as it is: somebody must mend a setting or the other side."""

    reason: str


Outcome = Accepted | Trouble | Refused


class Target(Protocol):
    """Something that messages are sent to. Used by one thread at a time."""

    def send(self, message: Message) -> Outcome:
        """Send a message and return what came of it, in bounded time."""
        ...
