"""Messages to an incoming webhook of Slack, as plain text: nothing in them is a mention, a link or markup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.https import Address, post
from fraudengine.alerts.targets.secrets import secret_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from fraudengine.alerts.message import Message
    from fraudengine.alerts.targets.gate import Gate
    from fraudengine.alerts.targets.outcome import Outcome
    from fraudengine.settings_alerts import SlackTarget

__all__ = ["Slack", "escaped"]


def escaped(text: str) -> str:
    """Return a text whose `&`, `<` and `>` mean themselves to Slack: without them there are no mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Slack:
    """One webhook.

    Parameters
    ----------
    told
        Its settings.
    hosts
        Where it may be.
    gate
        The way there.
    key
        Name of its settings, for errors.

    Raises
    ------
    ConfigError
        Its address cannot be used.

    """

    def __init__(self, told: SlackTarget, hosts: Collection[str], gate: Gate, key: str) -> None:
        self._address = Address.of(secret_of(told.url, told.url_file, f"{key}.url"), hosts, key)
        self._gate = gate

    def send(self, message: Message) -> Outcome:
        """Send a message."""
        body = {
            "text": escaped(f"{message.title}\n{message.text}"),
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return post(self._gate, self._address, json.dumps(body).encode(), {})
