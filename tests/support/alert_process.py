"""`fraudengine alerts` as a child process under test: started, watched, killed, stopped by its id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from child_process import ChildUnderTest
from stream_process import eventually

from fraudengine.errors import StreamError
from fraudengine.streaming.client import OperatorClient

__all__ = ["AlertsUnderTest"]

_COMMAND = [sys.executable, "-c", "from fraudengine.cli import main; main()", "alerts"]


class AlertsUnderTest(ChildUnderTest):
    """One process; a context manager that ends it whatever happens.

    Parameters
    ----------
    settings
        `SECTION.KEY` and value; the port of the door for operators is free unless given.
    folder
        Working folder: settings, log and answers go there.

    """

    def __init__(self, settings: Mapping[str, object], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "alerts.log"
        self._out = folder / "alerts.out"
        given = {"http.port": 0, "log.format": "json", **settings}
        options = [part for name, value in given.items() for part in ("--set", f"{name}={_text(value)}")]
        self._options, self._folder = options, folder
        with self.log.open("ab") as log, self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*_COMMAND, "--json", *options], stdout=out, stderr=log, cwd=folder, start_new_session=True
            )

    @property
    def address(self) -> str:
        """Where its door is, as soon as it is open."""
        eventually(lambda: self._told() is not None, 60, "an alert service that answers")
        return str(self._told())

    def _told(self) -> str | None:
        assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.tail()}"
        text = self._out.read_text()
        return str(json.loads(text)["address"]) if text.endswith("}\n") else None

    def status(self) -> dict[str, Any]:
        """Return the status."""
        return OperatorClient(self.address).status()

    def page(self, path: str) -> str:
        """Return a page of the door."""
        with urllib.request.urlopen(f"{self.address}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, line: str) -> float:
        """Return the value of a line of the page of metrics; 0 where there is none."""
        for each in self.page("/metrics").splitlines():
            name, _, value = each.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def run(self, *command: str) -> str:
        """Run a subcommand with the same settings beside it; return what it prints."""
        done = subprocess.run(
            [*_COMMAND, *command, *self._options],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def await_read(self, next_offset: int, seconds: float = 60) -> None:
        """Wait until everything before an offset is taken in."""

        def read() -> bool:
            try:
                return int(self.status()["next_offset"] or 0) >= next_offset
            except StreamError:
                return False

        eventually(read, seconds, f"alerts taken in up to {next_offset}\n{self.tail()}")

    def stop(self, seconds: float = 30) -> int:
        """End it in order; return its exit code."""
        if self.process.poll() is None:
            assert self.address
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def _text(value: object) -> str:
    if isinstance(value, bool | dict | list):
        return json.dumps(value, default=str)
    return str(value)
