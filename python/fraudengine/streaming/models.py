"""Which bundle decides: remembered beside the state, so that a restart goes on with what was activated.

`model.json` in the state folder holds the active bundle, the one before it (for a rollback), and the bundle
that the process was started with. It is replaced as a whole, so a reader sees the old or the new one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fraudengine.bundle import Bundle
from fraudengine.errors import BundleError
from fraudengine.files import write_durably

__all__ = ["ActiveModels", "Choice"]


@dataclass(frozen=True)
class Choice:
    """One bundle at one time.

    Attributes
    ----------
    path
        Absolute folder of the bundle.
    hash
        Its hash, 64 hexadecimal digits.
    since
        When it was activated, ISO 8601, UTC.

    """

    path: str
    hash: str
    since: str


class ActiveModels:
    """The record of one state folder.

    Parameters
    ----------
    folder
        State folder of whoever decides: the stream, or a scoring service with a state of its own.

    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "model.json"

    def read(self) -> dict[str, Choice | None]:
        """Return `active`, `previous` and `started_with`; all `None` when nothing was ever activated.

        Raises
        ------
        BundleError
            The record is damaged.

        """
        empty: dict[str, Choice | None] = {"active": None, "previous": None, "started_with": None}
        try:
            told = json.loads(self._file.read_bytes())
            return {name: Choice(**told[name]) if told.get(name) else None for name in empty}
        except FileNotFoundError:
            return empty
        except (ValueError, TypeError, AttributeError) as error:
            raise BundleError(f"{self._file} is damaged: remove it to start with the given bundle") from error

    def at_start(self, given: Bundle | None) -> Bundle:
        """Return the bundle to start with, and remember it.

        The activated bundle goes on, unless the process is started with another bundle than last time:
        then somebody has decided anew.

        Raises
        ------
        BundleError
            There is no bundle, or it is refused.

        """
        bundle = self.meanwhile(given)
        if bundle is not given:
            return bundle
        known = self.read()
        active = known["active"]
        self._write(
            _choice(bundle), active if active and active.hash != bundle.hash else known["previous"], bundle
        )
        return bundle

    def meanwhile(self, given: Bundle | None) -> Bundle:
        """Return the bundle that `at_start` would return, and remember nothing: for a process that stands by.

        Raises
        ------
        BundleError
            There is no bundle, or it is refused.

        """
        known = self.read()
        active, started = known["active"], known["started_with"]
        if active is not None and (given is None or (started is not None and started.hash == given.hash)):
            bundle = Bundle.load(active.path)
            if bundle.hash != active.hash:
                raise BundleError(f"{active.path} is not the bundle that was activated: it was replaced")
            return bundle
        if given is None:
            raise BundleError("no bundle was given and none was activated before: name one")
        return given

    def activated(self, bundle: Bundle) -> None:
        """Remember that a bundle decides from now on."""
        known = self.read()
        active = known["active"]
        previous = active if active and active.hash != bundle.hash else known["previous"]
        self._write(_choice(bundle), previous, known["started_with"])

    def before(self) -> Bundle:
        """Return the bundle that decided before the active one.

        Raises
        ------
        BundleError
            There was none, or it is refused.

        """
        previous = self.read()["previous"]
        if previous is None:
            raise BundleError("there is no earlier model to go back to")
        return Bundle.load(previous.path)

    def _write(self, active: Choice, previous: Choice | None, started: Bundle | Choice | None) -> None:
        started_with = _choice(started) if isinstance(started, Bundle) else started
        told = {"active": active, "previous": previous, "started_with": started_with}
        text = json.dumps(
            {name: asdict(choice) if choice else None for name, choice in told.items()}, indent=1
        )
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._file, text.encode() + b"\n")


def _choice(bundle: Bundle) -> Choice:
    return Choice(str(bundle.path.resolve()), bundle.hash, datetime.now(UTC).isoformat(timespec="seconds"))
