"""Messages into a folder of this machine: for demonstrations, tests, and a look without any service.

Each is a file `MILLISECONDS-ID.eml`, which mail programs open; it is there whole or not at all, and a
repetition replaces it. Bounded: the oldest beyond `keep` are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fraudengine.alerts.targets.mail import as_mail
from fraudengine.alerts.targets.outcome import Accepted, Outcome, Trouble
from fraudengine.files import write_durably

if TYPE_CHECKING:
    from fraudengine.alerts.message import Message
    from fraudengine.settings_alerts import InboxTarget

__all__ = ["Inbox"]

_SENDER, _TO = "fraudengine@localhost", "inbox@localhost"


class Inbox:
    """One folder.

    Parameters
    ----------
    told
        Its settings.

    """

    def __init__(self, told: InboxTarget) -> None:
        self._folder = told.folder
        self._keep = told.keep

    def send(self, message: Message) -> Outcome:
        """Write a message."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._folder / f"{message.made_ms:013}-{message.id}.eml"
            write_durably(file, as_mail(message, _SENDER, _TO).as_bytes())
            for old in sorted(self._folder.glob("*.eml"))[: -self._keep]:
                old.unlink(missing_ok=True)
        except OSError as error:
            return Trouble(f"{self._folder}: {error.strerror}")
        return Accepted()
