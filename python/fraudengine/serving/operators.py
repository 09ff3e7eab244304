"""What an operator may do with whoever decides: this process, or the stream behind it.

Every method may take seconds and raises `FraudEngineError`; none runs on the event loop.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fraudengine.bundle import Bundle
from fraudengine.errors import BundleError, SnapshotError
from fraudengine.files import write_durably

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraudengine.streaming.client import OperatorClient

__all__ = ["Model", "Operator", "OwnOperator", "StreamOperator"]


class Model(NamedTuple):
    """A bundle: its absolute folder, and its hash in hexadecimal digits."""

    path: str
    hash: str


class Operator(Protocol):
    """What an operator may do."""

    def models(self) -> tuple[Model, Model | None]:
        """Return the model that decides and the one before it, if there was one."""

    def activate(self, path: str, wanted_hash: str) -> Model:
        """Decide with another bundle; an empty hash is any."""

    def roll_back(self) -> Model:
        """Decide with the bundle before the active one."""

    def snapshot(self) -> tuple[str, int]:
        """Write the state to disk; return the file and its length in bytes."""


class OwnOperator:
    """Acts on the state of this process.

    Parameters
    ----------
    bundle
        The model that decides.
    activate
        Decides with another bundle from the next transaction on.
    snapshot
        Returns the state as bytes.
    folder
        Where snapshots go.

    """

    def __init__(
        self,
        bundle: Bundle,
        activate: Callable[[Bundle], object],
        snapshot: Callable[[], bytes],
        folder: Path,
    ) -> None:
        self._active = bundle
        self._previous: Bundle | None = None
        self._activate = activate
        self._snapshot = snapshot
        self._folder = folder
        self._lock = threading.Lock()

    def models(self) -> tuple[Model, Model | None]:
        """Return the model that decides and the one before it; a restart forgets both."""
        with self._lock:
            return _model(self._active), _model(self._previous) if self._previous else None

    def activate(self, path: str, wanted_hash: str) -> Model:
        """Decide with another bundle from the next transaction on."""
        bundle = Bundle.load(path)
        if wanted_hash not in ("", bundle.hash):
            raise BundleError(f"{path} has the hash {bundle.hash}, not {wanted_hash}")
        with self._lock:
            self._set(bundle)
        return _model(bundle)

    def roll_back(self) -> Model:
        """Decide with the bundle before the active one."""
        with self._lock:
            if self._previous is None:
                raise BundleError("there is no earlier model to go back to")
            bundle = Bundle.load(self._previous.path)
            self._set(bundle)
        return _model(bundle)

    def snapshot(self) -> tuple[str, int]:
        """Write the state to a file of its own: whole or not at all."""
        with self._lock:
            data = self._snapshot()
            file = self._folder.absolute() / f"serve-{time.time_ns() // 1_000}.snapshot"
            try:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_durably(file, data)
            except OSError as error:
                raise SnapshotError(f"{file} cannot be written: {error.strerror}") from error
        return str(file), len(data)

    def _set(self, bundle: Bundle) -> None:
        self._activate(bundle)
        if bundle.hash != self._active.hash:
            self._previous = self._active
        self._active = bundle


class StreamOperator:
    """Acts on the stream, through its door for operators.

    Parameters
    ----------
    client
        The door.

    """

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    def models(self) -> tuple[Model, Model | None]:
        """Return the model that decides and the one before it."""
        told = self._client.models()
        return _told(told["active"]), _told(told["previous"]) if told["previous"] else None

    def activate(self, path: str, wanted_hash: str) -> Model:
        """Decide with another bundle from the next record on."""
        return _told(self._client.activate(Path(path), wanted_hash))

    def roll_back(self) -> Model:
        """Decide with the bundle before the active one."""
        return _told(self._client.roll_back())

    def snapshot(self) -> tuple[str, int]:
        """Have the stream write a snapshot; it is on the stream's machine."""
        told = self._client.snapshot()
        return str(told["path"]), int(told["bytes"])


def _model(bundle: Bundle) -> Model:
    return Model(str(bundle.path.resolve()), bundle.hash)


def _told(told: dict[str, Any]) -> Model:
    return Model(str(told["bundle"]), str(told["bundle_hash"]))
