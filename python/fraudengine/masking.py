"""What may be printed of a setting: passwords, keys and addresses that are secrets are masked."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, SecretStr

__all__ = ["masked"]

_MASK = "********"
_SECRET_PROPERTY = re.compile(r"password|secret|\.pem$|jaas|token|oauthbearer\.config", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+(@)")
_KEYWORD_PASSWORD = re.compile(r"(password\s*=\s*)('[^']*'|[^&\s]+)", re.IGNORECASE)
_SECRET_KEYS = ("hash_key", "viewer_password", "analyst_password")
_TARGET_SECRETS = ("url", "secret", "password")


def masked(key: str, value: object) -> object:
    """Return a value as it may be printed."""
    if isinstance(value, SecretStr):
        return _MASK if value.get_secret_value() else ""
    if key in _SECRET_KEYS:
        return _MASK if value else ""
    if key == "url" and isinstance(value, str):
        return _KEYWORD_PASSWORD.sub(rf"\1{_MASK}", _URL_PASSWORD.sub(rf"\1{_MASK}\2", value))
    if key == "targets":
        return _masked_targets(value)
    if isinstance(value, dict):
        value = {
            name: each.model_dump(mode="json") if isinstance(each, BaseModel) else each
            for name, each in value.items()
        }
    if key == "client" and isinstance(value, dict):
        return {name: _MASK if _SECRET_PROPERTY.search(name) else each for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def _masked_targets(value: object) -> object:
    """Return the targets of alerts as they may be printed; what is no table of tables is not shown at all."""
    if not isinstance(value, dict):
        return _MASK
    shown: dict[str, object] = {}
    for name, target in value.items():
        keys = target.model_dump(mode="json") if isinstance(target, BaseModel) else target
        if isinstance(keys, dict):
            shown[name] = {
                key: _MASK if key in _TARGET_SECRETS and each else each for key, each in keys.items()
            }
        else:
            shown[name] = _MASK
    return shown
