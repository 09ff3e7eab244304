"""One process of the stream: the native threads, the model they decide with, and the door for operators."""

from __future__ import annotations

import faulthandler
import hashlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Self, TextIO

from fraudengine import _native
from fraudengine.bundle import Bundle
from fraudengine.errors import BundleError, FraudEngineError, SnapshotError, StreamError
from fraudengine.locks import SharedLock
from fraudengine.log_lines import wants_json
from fraudengine.services.processes import wait_until
from fraudengine.services.topics import create_topics
from fraudengine.streaming.http import OperatorServer
from fraudengine.streaming.models import ActiveModels

if TYPE_CHECKING:
    from pathlib import Path

    from fraudengine.config import Settings

__all__ = ["StreamProcess"]

_SNAPSHOT_SECONDS = 45.0
_FOLDER_SECONDS = 0.02


class StreamProcess:
    """A running stream; a context manager that stops it in order.

    Where another process of the same group has the state folder, it stands by: it follows the log, and
    decides as soon as the other one is gone.

    Parameters
    ----------
    settings
        Effective settings; addresses that are empty are those of the running embedded services.
    bundle
        Model to decide with; `None` goes on with the one that was activated last.

    Raises
    ------
    BundleError
        The bundle is refused.
    ConfigError
        A setting cannot be used, or a process of another group uses the state folder.
    ServiceError
        An address is missing, or no broker answers.

    """

    def __init__(self, settings: Settings, bundle: Bundle | str | Path | None) -> None:
        _native.init_logging(settings.log.level, wants_json(settings.log))
        given = bundle if isinstance(bundle, Bundle) or bundle is None else Bundle.load(bundle)
        resolved = settings.resolved()
        folder = settings.state.folder.absolute()
        kafka = resolved.kafka
        purpose = f"group {kafka.group} and topic {kafka.decisions_topic}"
        self._lock = SharedLock(folder, "state.folder", purpose)
        self._folder = folder
        self._models = ActiveModels(folder)
        self._given = given
        create_topics(kafka)
        self._crash = _crash_file(folder)
        instance = f"{socket.gethostname()}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        self._native = _native.Stream(settings.native_json(), f"fraudengine-{instance}")
        self._closing = threading.Event()
        self._refused: FraudEngineError | None = None
        self._waiting: threading.Thread | None = None
        if self._lock.held:
            self._admit()
        else:
            self.bundle = self._models.meanwhile(given)
            self._activate(self.bundle)
            self._waiting = threading.Thread(target=self._wait_for_folder, name="state folder", daemon=True)
            self._waiting.start()
        self._native.start()
        self._server = OperatorServer(self, settings.http)

    def _wait_for_folder(self) -> None:
        """Wait until the process that has the folder is gone, and take its place."""
        while not self._closing.wait(_FOLDER_SECONDS):
            if self._lock.take():
                try:
                    self._admit()
                except FraudEngineError as error:
                    self._refused = error
                return

    def _admit(self) -> None:
        """Compete for the seat: the folder is this process's now."""
        self._crash.seek(0)
        bundle = self._models.at_start(self._given)
        if getattr(self, "bundle", None) is None or bundle.hash != self.bundle.hash:
            self.bundle = bundle
            self._activate(bundle)
        self._native.admit(self._crash.read() or None)
        # Only now: until the native side has taken note of it, it must not be lost.
        self._crash.truncate(0)
        faulthandler.enable(self._crash, all_threads=False)

    @property
    def address(self) -> str:
        """Where operators reach it, `http://HOST:PORT`."""
        return self._server.address

    def activate(self, bundle: Bundle | str | Path, wanted_hash: str = "") -> Bundle:
        """Decide with another bundle from the next records on; the change is atomic and remembered.

        Raises
        ------
        BundleError
            It is refused, or has another hash than wanted; the model that decides goes on.

        """
        if not self._lock.held:
            raise BundleError("this process stands by: exchange the model of the one that decides")
        loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        if wanted_hash not in ("", loaded.hash):
            raise BundleError(f"{loaded.path} has the hash {loaded.hash}, not {wanted_hash}")
        self._activate(loaded)
        self._models.activated(loaded)
        self.bundle = loaded
        return loaded

    def roll_back(self) -> Bundle:
        """Decide again with the bundle before the active one.

        Raises
        ------
        BundleError
            There was none, or it is refused.

        """
        return self.activate(self._models.before())

    def models(self) -> dict[str, dict[str, str] | None]:
        """Return path and hash of the model that decides and of the one before it.

        Raises
        ------
        BundleError
            The record of models is damaged.

        """
        known = self._models.read()
        return {
            name: {"bundle": choice.path, "bundle_hash": choice.hash} if choice else None
            for name, choice in known.items()
            if name != "started_with"
        }

    def snapshot(self) -> Path:
        """Write a snapshot now, and wait until it is published; return its file.

        Raises
        ------
        SnapshotError
            It was not published in time, for example because this process does not decide.

        """
        asked = self._native.ask_snapshot()
        if not wait_until(lambda: self._native.snapshots_answered() >= asked, _SNAPSHOT_SECONDS):
            phase, _ = self._native.phase()
            within = f"within {_SNAPSHOT_SECONDS} s"
            raise SnapshotError(f"no snapshot was published {within}; the stream is {phase}")
        return max(self._folder.glob("state-*.snapshot"), key=lambda file: file.name)

    def _activate(self, bundle: Bundle) -> None:
        self._native.activate(bundle.activation())

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it has come.

        Raises
        ------
        StreamError
            It ended because of something that somebody must mend.

        """
        ended = self._native.wait(seconds)
        if ended:
            # Whoever stands by may go on before this process has cleared up.
            self._release()
        if self._refused is not None:
            raise self._refused
        phase, error = self._native.phase()
        if phase == "failed":
            raise StreamError(error or "the stream failed")
        return ended

    def status(self) -> dict[str, Any]:
        """Return what it is doing, with counters and latencies (microseconds)."""
        return {**self._native.status(), "bundle": str(self.bundle.path), "bundle_hash": self.bundle.hash}

    def metrics(self) -> str:
        """Return the page for Prometheus."""
        return self._native.metrics()

    def stop(self) -> None:
        """Ask it to end in order; `wait` tells when it has.

        Where another process waits for the state folder, it ends without a last snapshot: the other one has
        the state.
        """
        self._native.stop(hand_over=self._lock.held and self._lock.is_wanted())

    def close(self) -> None:
        """Stop in order, wait for it, and release the state folder."""
        self._server.close()
        self._native.close()
        faulthandler.disable()
        self._crash.close()
        self._release()

    def _release(self) -> None:
        self._closing.set()
        if self._waiting is not None:
            self._waiting.join()
        faulthandler.disable()
        self._lock.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()


def _crash_file(folder: Path) -> TextIO:
    """Open the file that a fatal signal writes to; what it holds is about the process before this one.

    SIGKILL writes nothing, so a process that was killed leaves it empty.
    """
    file = open(folder / "crash.log", "a+", encoding="utf-8", errors="replace", opener=_private)  # noqa: SIM115 - as long as the process
    file.seek(0)
    return file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
