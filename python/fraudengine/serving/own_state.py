"""The state of a service that decides by itself, kept across restarts.

One file in a folder of its own: a line that says what wrote it and with which settings, then the engine's
snapshot, whose parts carry checksums. It is written beside the old one, synced and renamed, so there is
always a whole one. What was decided after the newest is forgotten by a crash; a drain writes the last one.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from fraudengine.engine import Engine
from fraudengine.errors import SnapshotError
from fraudengine.files import write_durably
from fraudengine.locks import lock_folder

if TYPE_CHECKING:
    from pathlib import Path

    from fraudengine.settings import EngineSettings, ServeSettings

__all__ = ["FILE", "StateKeeper"]

FILE = "scoring.state"
"""Name of the file."""

_FORMAT = "fraudengine scoring state 1"
_HEADER_MAX = 65_536

logger = logging.getLogger(__name__)


class StateKeeper:
    """Reads the state at the start, and writes it from time to time and at the end.

    Parameters
    ----------
    serve
        `state_folder` and `snapshot_interval_seconds`.
    engine
        What the state must have been made with.

    Raises
    ------
    ConfigError
        Another process uses the folder.

    """

    def __init__(self, serve: ServeSettings, engine: EngineSettings) -> None:
        self._folder = serve.state_folder.absolute()
        self._seconds = serve.snapshot_interval_seconds
        self._settings = engine
        self._lock = lock_folder(self._folder, "serve.state_folder")
        self._file = self._folder / FILE
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._saved = -1

    def load(self) -> Engine | None:
        """Return an engine that goes on from the file; `None` when there is none.

        Raises
        ------
        SnapshotError
            The file is damaged, of another program, or was written with other settings.

        """
        try:
            told, snapshot = _read(self._file)
        except FileNotFoundError:
            return None
        ours = self._made_with()
        for key, value in ours.items():
            if told.get(key) != value:
                raise SnapshotError(
                    f"{self._file} was written with engine.{key} = {told.get(key)!r}, which is {value!r} "
                    "now: set it back, or remove the file to begin with an empty state"
                )
        try:
            return Engine.restore(
                snapshot,
                memory_max_bytes=self._settings.memory_max_bytes,
                reference_currency=self._settings.reference_currency,
                rates=self._settings.rates,
                threads=self._settings.threads,
            )
        except SnapshotError as error:
            raise SnapshotError(f"{self._file}: {error}") from error

    def start(self, engine: Engine) -> None:
        """Write the state of an engine from time to time."""
        self._engine = engine
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._save()
            except OSError as error:
                # The next one may succeed; the one before is still there.
                logger.warning("serve.state_folder: the state was not written: %s", error)

    def _save(self) -> None:
        count = int(self._engine.stats()["transactions"])
        if count == self._saved:
            return
        header = json.dumps({"format": _FORMAT, **self._made_with()}).encode() + b"\n"
        write_durably(self._file, header, self._engine.snapshot())
        self._saved = count

    def _made_with(self) -> dict[str, Any]:
        told = self._settings
        return {
            "lateness_seconds": told.lateness_seconds,
            "entities_max": told.entities_max,
            "reference_currency": told.reference_currency,
        }

    def close(self) -> None:
        """Write the last state, and release the folder."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._save()
        os.close(self._lock)


def _read(file: Path) -> tuple[dict[str, Any], bytes]:
    """Return what the first line says, and the snapshot behind it."""
    with file.open("rb") as content:
        line = content.readline(_HEADER_MAX)
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise SnapshotError(f"{file} is not the state of a scoring service ({_FORMAT!r})")
        return told, content.read()
