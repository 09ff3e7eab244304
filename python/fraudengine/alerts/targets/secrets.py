"""Secrets of targets: in the settings, or in a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

__all__ = ["secret_of"]


def secret_of(given: SecretStr, file: Path, key: str) -> str:
    """Return a secret, or what its file holds without the white space around it.

    Raises
    ------
    ConfigError
        The file cannot be read or is empty; the message names the setting.

    """
    if not file.name:
        return given.get_secret_value()
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{key}_file {file} cannot be read: {reason}") from error
    if not text:
        raise ConfigError(f"{key}_file {file} is empty")
    return text
