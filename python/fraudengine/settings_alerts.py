"""The section `[alerts]`: who is told of what, and how often. Units, ranges, meanings: `default.toml`.

Targets and routes are tables that users name (`[alerts.targets.NAME]`), so the defaults of their keys stand
here. Secrets (addresses of webhooks, keys, passwords) are `SecretStr`, or in files of their own that the
keys ending in `_file` name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from fraudengine.schema import CHANNELS
from fraudengine.settings import Currency, _Section

__all__ = [
    "AlertRoute",
    "AlertTarget",
    "AlertsSettings",
    "AppriseTarget",
    "EmailTarget",
    "GroupBy",
    "InboxTarget",
    "SlackTarget",
    "WebhookTarget",
]

GroupBy = Literal["customer", "card", "device", "merchant"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Host = Annotated[str, Field(pattern=r"^[a-z0-9.:\[\]-]{1,255}$")]
Address = Annotated[str, Field(pattern=r"^[^@\s<>\"(),:;\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}$")]
MessagesPerMinute = Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)]
NO_SECRET = SecretStr("")


class _Target(_Section):
    """What every target has."""

    messages_per_minute: MessagesPerMinute = 60.0

    def _either(self, key: str) -> None:
        given, file = getattr(self, key).get_secret_value(), getattr(self, f"{key}_file").name
        if bool(given) == bool(file):
            message = f"give either {key} or {key}_file"
            raise ValueError(message)


class _UrlTarget(_Target):
    """What is reached by an address that is a secret."""

    url: SecretStr = NO_SECRET
    url_file: Path = Path()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        self._either("url")
        return self


class SlackTarget(_UrlTarget):
    """An incoming webhook of Slack, or of what understands its messages (Mattermost, Rocket.Chat)."""

    kind: Literal["slack"]


class WebhookTarget(_UrlTarget):
    """A program of one's own, called over https with a signature (standardwebhooks.com)."""

    kind: Literal["webhook"]
    secret: SecretStr = NO_SECRET
    secret_file: Path = Path()

    @model_validator(mode="after")
    def _signed(self) -> Self:
        self._either("secret")
        return self


class EmailTarget(_Target):
    """One address, by a mail server that speaks TLS."""

    kind: Literal["email"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls"] = "starttls"
    user: Annotated[str, Field(max_length=255)] = ""
    password: SecretStr = NO_SECRET
    password_file: Path = Path()
    sender: Address
    to: Address

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.user:
            self._either("password")
        return self


class AppriseTarget(_UrlTarget):
    """Any other service that Apprise knows, by its URL."""

    kind: Literal["apprise"]


class InboxTarget(_Target):
    """A folder of this machine, one file a message."""

    kind: Literal["inbox"]
    folder: Path
    keep: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    messages_per_minute: MessagesPerMinute = 6_000.0


AlertTarget = Annotated[
    SlackTarget | WebhookTarget | EmailTarget | AppriseTarget | InboxTarget, Field(discriminator="kind")
]


class AlertRoute(_Section):
    """Which alerts go to which targets: those that meet every condition given; an empty one is none."""

    targets: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32)]
    group_by: GroupBy | None = None
    score_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    amount_min: dict[Currency, Annotated[int, Field(ge=0, le=10**11)]] = Field(default_factory=dict)
    actions: tuple[Literal["review", "block"], ...] = ()
    reasons: tuple[str, ...] = ()
    merchants: tuple[str, ...] = ()
    merchant_categories: tuple[Annotated[int, Field(ge=0, le=9_999)], ...] = ()
    channels: tuple[str, ...] = ()
    countries: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = ()

    @field_validator("channels")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for channel in given:
            if channel not in CHANNELS:
                message = f"{channel!r} is not one of {', '.join(CHANNELS)}"
                raise ValueError(message)
        return given


class AlertsSettings(_Section):
    """`[alerts]`: the alert service."""

    state_folder: Path
    start: Literal["earliest", "latest"]
    group_by: GroupBy
    group_wait_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
    group_interval_seconds: Annotated[float, Field(ge=1, le=604_800, allow_inf_nan=False)]
    groups_max: Annotated[int, Field(ge=1, le=1_000_000)]
    failed_max: Annotated[int, Field(ge=1, le=1_000_000)]
    senders: Annotated[int, Field(ge=1, le=32)]
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False)]
    retry_seconds_max: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
    hosts: tuple[Host, ...]
    private_hosts: tuple[Host, ...]
    ca_file: Path
    apprise_schemas: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]{1,32}$")], ...]
    targets: Annotated[dict[Name, AlertTarget], Field(max_length=32)]
    routes: Annotated[dict[Name, AlertRoute], Field(max_length=32)]

    @field_validator("routes")
    @classmethod
    def _lead_somewhere(cls, routes: dict[str, AlertRoute], info: ValidationInfo) -> dict[str, AlertRoute]:
        for name, route in routes.items():
            for target in route.targets:
                # Absent where the targets themselves are refused: that is told already.
                if target not in info.data.get("targets", {target: None}):
                    message = f"{name} leads to {target!r}, which is not in alerts.targets"
                    raise ValueError(message)
        return routes
