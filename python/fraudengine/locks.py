"""One process for a folder: a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lock_folder"]


def lock_folder(folder: Path, setting: str) -> int:
    """Make a folder that only its owner can enter, lock it for this process, and return the lock.

    Closing the lock (`os.close`) releases the folder.

    Raises
    ------
    ConfigError
        Another process has it; the message names the setting that names the folder.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(f"{setting} {folder} is in use by another process") from error
    return handle
