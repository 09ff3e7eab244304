"""Ways to send a message, one module each, behind `Target`.

Slack and webhooks are called with the standard library's `http.client`, mail is sent with its `smtplib`: a
subclass of each with one method puts the check of the address at the moment of connecting, and neither
follows redirects, takes a proxy or a password from the environment, or keeps at it behind our back. Apprise,
which could do both, tells success and failure only: not 429 from 500 from 404, and when to come again; and it
connects wherever a name leads. It is the way to its hundred other services (`others`), for those that
`alerts.apprise_schemas` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fraudengine.alerts.targets.gate import Gate
from fraudengine.alerts.targets.inbox import Inbox
from fraudengine.alerts.targets.mail import Mail
from fraudengine.alerts.targets.others import Others
from fraudengine.alerts.targets.outcome import Accepted, Outcome, Refused, Target, Trouble
from fraudengine.alerts.targets.slack import Slack
from fraudengine.alerts.targets.webhook import Webhook
from fraudengine.settings_alerts import AppriseTarget, EmailTarget, InboxTarget, SlackTarget

if TYPE_CHECKING:
    from fraudengine.settings_alerts import AlertsSettings, AlertTarget

__all__ = ["Accepted", "Outcome", "Refused", "Target", "Trouble", "targets_of"]


def targets_of(settings: AlertsSettings) -> dict[str, Target]:
    """Return the targets of the settings by name.

    Raises
    ------
    ConfigError
        A target cannot be used: an address that is not allowed, a file that cannot be read.

    """
    gate = Gate(settings.private_hosts, settings.ca_file, settings.timeout_seconds)
    return {name: _target(name, target, settings, gate) for name, target in settings.targets.items()}


def _target(name: str, told: AlertTarget, settings: AlertsSettings, gate: Gate) -> Target:
    key = f"alerts.targets.{name}"
    if isinstance(told, InboxTarget):
        return Inbox(told)
    if isinstance(told, EmailTarget):
        return Mail(told, gate, key)
    if isinstance(told, SlackTarget):
        return Slack(told, settings.hosts, gate, key)
    if isinstance(told, AppriseTarget):
        return Others(told, settings.apprise_schemas, settings.timeout_seconds, key)
    return Webhook(told, settings.hosts, gate, key)
