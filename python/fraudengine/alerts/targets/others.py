"""Messages to any other service that Apprise knows. What it cannot tell or check, see the package's text."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.outcome import Accepted, Outcome, Trouble
from fraudengine.alerts.targets.secrets import secret_of
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from fraudengine.alerts.message import Message
    from fraudengine.settings_alerts import AppriseTarget

__all__ = ["Others"]


class Others:
    """One service.

    Parameters
    ----------
    told
        Its settings.
    schemas
        Services that may be used.
    timeout_seconds
        Longest that Apprise may take.
    key
        Name of its settings, for errors.

    Raises
    ------
    ConfigError
        The service is not allowed, or Apprise does not know it.

    """

    def __init__(
        self, told: AppriseTarget, schemas: Collection[str], timeout_seconds: float, key: str
    ) -> None:
        url = secret_of(told.url, told.url_file, f"{key}.url")
        self._schema = url.partition(":")[0].lower()
        if self._schema not in schemas:
            # What stands before the colon may be anything, so it is shown only if it looks like a schema.
            shown = self._schema if self._schema.isalnum() and len(self._schema) <= 32 else "that"
            raise ConfigError(f"{key}.url: {shown} is not in alerts.apprise_schemas")
        # Imported late: it is large, and most services never need it. It logs what may hold secrets.
        import apprise

        quiet = logging.getLogger("apprise")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        asset = apprise.AppriseAsset(
            app_id="fraudengine",
            http_redirects=False,
            async_mode=False,
            service_timeout=timeout_seconds,
            allow_templates=False,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
        )
        self._service = apprise.Apprise(asset=asset)
        if not self._service.add(url):
            raise ConfigError(f"{key}.url is not a URL of Apprise's {self._schema}")
        self._text = apprise.NotifyFormat.TEXT

    def send(self, message: Message) -> Outcome:
        """Send a message."""
        sent = self._service.notify(body=message.text, title=message.title, body_format=self._text)
        return Accepted() if sent else Trouble(f"{self._schema}: Apprise could not deliver it")
