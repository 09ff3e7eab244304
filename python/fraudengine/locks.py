"""One process for a folder: a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SharedLock", "lock_folder"]


def lock_folder(folder: Path, setting: str) -> int:
    """Make a folder that only its owner can enter, lock it for this process, and return the lock.

    Closing the lock (`os.close`) releases the folder.

    Raises
    ------
    ConfigError
        Another process has it; the message names the setting that names the folder.

    """
    handle = _open(folder)
    if not _try(handle):
        os.close(handle)
        raise ConfigError(f"{setting} {folder} is in use by another process")
    return handle


class SharedLock:
    """A folder that several processes of one purpose share: one has it, the others wait for it.

    Parameters
    ----------
    folder
        Made if it does not exist; only its owner can enter it.
    setting
        The setting that names the folder.
    purpose
        What the folder is used for, one line. Who has the lock writes it down, and a process with another
        purpose is refused: it would wait for a state that is not its own.

    Raises
    ------
    ConfigError
        Another process has it, for another purpose.

    """

    def __init__(self, folder: Path, setting: str, purpose: str) -> None:
        self._handle = _open(folder)
        # Held by every process that waits, so that the one that has the folder can tell.
        self._queue = os.open(folder / ".waiting", os.O_RDWR | os.O_CREAT, 0o600)
        self._purpose = purpose.encode()
        self._open = True
        self.held = False
        """Whether this process has the folder."""
        if self.take():
            return
        fcntl.flock(self._queue, fcntl.LOCK_SH)
        found = os.pread(self._handle, 4_096, 0)
        # Empty for a moment, between the lock and what is written about it.
        if found not in (b"", self._purpose):
            self.close()
            told = found.decode(errors="replace")
            raise ConfigError(f"{setting} {folder} is in use by another process, for {told}, not {purpose}")

    def take(self) -> bool:
        """Take the folder if nobody has it; return whether this process has it now."""
        if not self.held and _try(self._handle):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, self._purpose, 0)
            fcntl.flock(self._queue, fcntl.LOCK_UN)
            self.held = True
        return self.held

    def is_wanted(self) -> bool:
        """Whether another process waits for the folder."""
        if not _try(self._queue):
            return True
        fcntl.flock(self._queue, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Release the folder; a second call changes nothing."""
        if self._open:
            os.close(self._handle)
            os.close(self._queue)
        self._open = self.held = False


def _open(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
