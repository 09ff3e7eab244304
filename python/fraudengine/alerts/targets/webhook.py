"""Messages to a program of one's own, signed as Standard Webhooks (standardwebhooks.com) says.

Three headers: `webhook-id`, the id of the message; `webhook-timestamp`, seconds since 1970, of this attempt;
`webhook-signature`, `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY` with the secret. A receiver
verifies the signature, refuses a timestamp that is minutes old, and remembers ids: then nobody can forge or
replay a message, and a repetition of ours is seen as one. Its libraries do all of this.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.https import Address, post
from fraudengine.alerts.targets.secrets import secret_of
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from fraudengine.alerts.message import Message
    from fraudengine.alerts.targets.gate import Gate
    from fraudengine.alerts.targets.outcome import Outcome
    from fraudengine.settings_alerts import WebhookTarget

__all__ = ["SECRET_BYTES_MIN", "Webhook", "key_of", "signature"]

SECRET_BYTES_MIN = 16
_PREFIX = "whsec_"


def key_of(secret: str, setting: str) -> bytes:
    """Return the key that a secret stands for: base64 behind `whsec_`, otherwise the text itself.

    Raises
    ------
    ConfigError
        It is not base64, or too short.

    """
    try:
        key = (
            base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
            if secret.startswith(_PREFIX)
            else b""
        )
    except binascii.Error:
        raise ConfigError(f"{setting} begins with {_PREFIX} and is not base64") from None
    key = key or secret.encode()
    if len(key) < SECRET_BYTES_MIN:
        raise ConfigError(f"{setting} has {len(key)} bytes, must have at least {SECRET_BYTES_MIN}")
    return key


def signature(key: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    told = f"{message_id}.{seconds}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()}"


class Webhook:
    """One receiver.

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
        Its address or its secret cannot be used.

    """

    def __init__(self, told: WebhookTarget, hosts: Collection[str], gate: Gate, key: str) -> None:
        self._address = Address.of(secret_of(told.url, told.url_file, f"{key}.url"), hosts, key)
        self._key = key_of(secret_of(told.secret, told.secret_file, f"{key}.secret"), f"{key}.secret")
        self._gate = gate

    def send(self, message: Message) -> Outcome:
        """Send a message."""
        body = json.dumps(message.as_data(), allow_nan=False).encode()
        seconds = int(time.time())
        headers = {
            "webhook-id": message.id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature(self._key, message.id, seconds, body),
        }
        return post(self._gate, self._address, body, headers)
