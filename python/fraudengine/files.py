"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_durably"]


def write_durably(file: Path, *parts: bytes) -> None:
    """Write a file that only its owner can read: beside the old one, forced to the disk, then renamed.

    Raises
    ------
    OSError
        It cannot be written; the old one is still there.

    """
    part = file.with_suffix(".part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as out:
            for each in parts:
                out.write(each)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    # Without this the name itself could be lost with the power.
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
