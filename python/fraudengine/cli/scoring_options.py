"""The options of a command that calls the scoring service: where it is, who calls, how it is encrypted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from fraudengine.client import Tls
    from fraudengine.config import Settings

__all__ = [
    "AddressOption",
    "CaOption",
    "CertificateOption",
    "KeyOption",
    "NameOption",
    "TlsOption",
    "TokenOption",
    "address_of",
    "tls_of",
    "token_of",
]

_PANEL = "Service"

AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Service; default: serve.host and serve.port.", rich_help_panel=_PANEL
    ),
]
"""Where the service is."""

TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File that holds the bearer token; else the environment's FRAUDENGINE_TOKEN.",
        rich_help_panel=_PANEL,
    ),
]
"""A file and not the token, which every user of the machine could read from the list of processes."""

TlsOption = Annotated[
    bool, typer.Option("--tls", help="Encrypt; any other --tls option does too.", rich_help_panel=_PANEL)
]
CaOption = Annotated[
    Path | None,
    typer.Option("--tls-ca", help="Who may sign the service's certificate (PEM).", rich_help_panel=_PANEL),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-certificate", help="The caller's own certificate chain (PEM).", rich_help_panel=_PANEL
    ),
]
KeyOption = Annotated[
    Path | None, typer.Option("--tls-key", help="The caller's own key (PEM).", rich_help_panel=_PANEL)
]
NameOption = Annotated[
    str | None,
    typer.Option("--tls-name", help="Name in the certificate, if not the address's.", rich_help_panel=_PANEL),
]


def address_of(told: str | None, settings: Settings) -> str:
    """Return the address of the service, `HOST:PORT`.

    Raises
    ------
    ConfigError
        The settings let the service pick a free port, so that it must be told.
    """
    if told is not None:
        return told
    if settings.serve.port == 0:
        raise ConfigError("serve.port is 0, a free port of the service's choice: give --address")
    return f"{settings.serve.host}:{settings.serve.port}"


def token_of(file: Path | None) -> str | None:
    """Return the bearer token, if there is one.

    Raises
    ------
    ConfigError
        The file cannot be read or is empty.
    """
    import os

    if file is None:
        return os.environ.get("FRAUDENGINE_TOKEN") or None
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--token-file {file} cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"--token-file {file} is empty")
    return token


def tls_of(
    *, asked: bool, ca: Path | None, certificate: Path | None, key: Path | None, name: str | None
) -> Tls | None:
    """Return how to encrypt; None: plain text."""
    from fraudengine.client import Tls

    if not (asked or ca or certificate or key or name):
        return None
    return Tls(ca=ca, certificate=certificate, key=key, name=name)
