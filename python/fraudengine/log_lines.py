"""Lines of the log from Python: the form of those of the native threads, as `[log]` says.

They are written by a thread of their own: nobody who reads them slowly, or not at all, holds up the work.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fraudengine.settings import LogSettings

__all__ = ["LINES_WAITING_MAX", "STANDARD_ERROR", "LineLogger", "wants_json"]

STANDARD_ERROR = 2
LINES_WAITING_MAX = 1_000
"""Most lines that wait to be written."""
_LEVELS = ("debug", "info", "warn", "error")


def wants_json(log: LogSettings, descriptor: int = STANDARD_ERROR) -> bool:
    """Return whether lines to a file are JSON: as `[log]` says, or because it is no terminal."""
    return log.format == "json" or (log.format == "auto" and not os.isatty(descriptor))


class LineLogger:
    """Writes lines.

    Parameters
    ----------
    target
        What the lines are about.
    log
        Level and format.
    descriptor
        File that the lines go to; standard error unless told otherwise.

    """

    def __init__(self, target: str, log: LogSettings, descriptor: int = STANDARD_ERROR) -> None:
        self._target = target
        self._descriptor = descriptor
        self._level = _LEVELS.index(log.level)
        self._json = wants_json(log, descriptor)
        self._lines: queue.Queue[bytes | None] = queue.Queue(LINES_WAITING_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def told(self, level: str, fields: dict[str, Any]) -> None:
        """Write a line of these fields soon; drop it, counted, where too many wait."""
        if _LEVELS.index(level) < self._level:
            return
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        if self._dropped:
            fields = {**fields, "dropped": self._dropped}
        if self._json:
            head = {"timestamp": at, "level": level.upper(), "target": self._target}
            line = json.dumps({**head, **fields})
        else:
            pairs = " ".join(f"{name}={value}" for name, value in fields.items())
            line = f"{at} {level.upper():>5} {self._target}: {pairs}"
        try:
            self._lines.put_nowait(line.encode() + b"\n")
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, for a second at most."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(1.0)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                # There is nowhere left to say so.
                return
