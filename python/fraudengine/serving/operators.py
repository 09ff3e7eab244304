"""What an operator may do with whoever decides: this process, or the stream behind it.

Every method may take seconds and raises `FraudEngineError`; none runs on the event loop.
"""

from __future__ import annotations

import logging
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
    from fraudengine.streaming.models import ActiveModels

__all__ = ["Model", "Operator", "OwnOperator", "StreamOperator"]

logger = logging.getLogger(__name__)


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
    remembered
        Where the choice of a model outlives a restart; `None`: it does not.

    """

    def __init__(
        self,
        bundle: Bundle,
        activate: Callable[[Bundle], object],
        snapshot: Callable[[], bytes],
        folder: Path,
        remembered: ActiveModels | None = None,
    ) -> None:
        self._active = _model(bundle)
        self._previous: Model | None = None
        self._remembered = remembered
        if remembered is not None and (before := remembered.read()["previous"]) is not None:
            self._previous = Model(before.path, before.hash)
        self._activate = activate
        self._snapshot = snapshot
        self._folder = folder
        self._lock = threading.Lock()

    def models(self) -> tuple[Model, Model | None]:
        """Return the model that decides and the one before it."""
        with self._lock:
            return self._active, self._previous

    def activate(self, path: str, wanted_hash: str) -> Model:
        """Decide with another bundle from the next transaction on."""
        bundle = Bundle.load(path)
        if wanted_hash not in ("", bundle.hash):
            raise BundleError(f"{path} has the hash {bundle.hash}, not {wanted_hash}")
        with self._lock:
            return self._set(bundle)

    def roll_back(self) -> Model:
        """Decide with the bundle before the active one."""
        with self._lock:
            if self._previous is None:
                raise BundleError("there is no earlier model to go back to")
            bundle = Bundle.load(self._previous.path)
            if bundle.hash != self._previous.hash:
                raise BundleError(f"{bundle.path} is not the bundle that decided before: it was replaced")
            return self._set(bundle)

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

    def _set(self, bundle: Bundle) -> Model:
        self._activate(bundle)
        if self._remembered is not None:
            self._remembered.activated(bundle)
        if bundle.hash != self._active.hash:
            self._previous = self._active
        self._active = _model(bundle)
        return self._active


class StreamOperator:
    """Acts on the stream, through its door for operators.

    Parameters
    ----------
    client
        The door.
    activate
        Answers with another bundle where this process answers by itself.

    """

    def __init__(self, client: OperatorClient, activate: Callable[[Bundle], object]) -> None:
        self._client = client
        self._activate = activate

    def models(self) -> tuple[Model, Model | None]:
        """Return the model that decides and the one before it."""
        told = self._client.models()
        return _told(told["active"]), _told(told["previous"]) if told["previous"] else None

    def activate(self, path: str, wanted_hash: str) -> Model:
        """Decide with another bundle from the next record on."""
        return self._followed(self._client.activate(Path(path), wanted_hash))

    def roll_back(self) -> Model:
        """Decide with the bundle before the active one."""
        return self._followed(self._client.roll_back())

    def snapshot(self) -> tuple[str, int]:
        """Have the stream write a snapshot; it is on the stream's machine."""
        told = self._client.snapshot()
        return str(told["path"]), int(told["bytes"])

    def _followed(self, told: dict[str, Any]) -> Model:
        """Answer with what the stream decides with now, if its folder is here, too."""
        model = _told(told)
        try:
            bundle = Bundle.load(model.path)
        except BundleError as error:
            logger.warning(
                "the stream decides with %s, this process goes on as before: %s", model.path, error
            )
            return model
        if bundle.hash == model.hash:
            self._activate(bundle)
        return model


def _model(bundle: Bundle) -> Model:
    return Model(str(bundle.path.resolve()), bundle.hash)


def _told(told: dict[str, Any]) -> Model:
    return Model(str(told["bundle"]), str(told["bundle_hash"]))
