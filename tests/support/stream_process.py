"""`fraudengine stream` as a child process under test: started, watched, killed, stopped by its id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from child_process import ChildUnderTest

from fraudengine.errors import StreamError
from fraudengine.services.processes import Process
from fraudengine.streaming.client import OperatorClient

__all__ = ["StreamUnderTest", "eventually"]

_PROGRAM = ["-c", "from fraudengine.cli import main; main()"]


def eventually(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition; fail with its name when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class StreamUnderTest(ChildUnderTest):
    """One process; a context manager that ends it whatever happens.

    Parameters
    ----------
    bundle
        Model.
    settings
        `SECTION.KEY` and value; the port of the door for operators is free unless given.
    folder
        Working folder: log and answers go there.
    python
        Interpreter that has the version under test.

    """

    def __init__(
        self, bundle: Path, settings: Mapping[str, object], folder: Path, python: str = sys.executable
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "stream.log"
        self._out = folder / "stream.out"
        given = {"http.port": 0, "log.format": "text", **settings}
        options = [part for name, value in given.items() for part in ("--set", f"{name}={_text(value)}")]
        with self.log.open("ab") as log, self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [python, *_PROGRAM, "stream", str(bundle), "--json", *options],
                stdout=out,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                env={**os.environ, "RUST_BACKTRACE": "1"},
            )
        self._client: OperatorClient | None = None

    def client(self) -> OperatorClient:
        """Return a client as soon as the door is open."""
        if self._client is None:
            eventually(lambda: self._address() is not None, 60, f"a stream that answers\n{self.tail()}")
            self._client = OperatorClient(str(self._address()))
        return self._client

    def _address(self) -> str | None:
        assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.tail()}"
        text = self._out.read_text()
        end = text.find("\n}")
        return None if end < 0 else str(json.loads(text[: end + 2])["address"])

    def status(self) -> dict[str, Any]:
        """Return the status."""
        return self.client().status()

    def await_decisions(self, count: int, seconds: float = 60) -> dict[str, Any]:
        """Wait until so many decisions of this process are acknowledged."""
        return self.await_status(lambda told: told["delivered"] >= count, seconds, f"{count} decisions")

    def await_status(
        self, condition: Callable[[dict[str, Any]], bool], seconds: float, what: str
    ) -> dict[str, Any]:
        """Wait until the status fulfils a condition; return it."""
        last: dict[str, Any] = {}

        def fulfilled() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.tail()}"
            try:
                last.update(self.status())
            except StreamError:
                return False
            return condition(last)

        try:
            eventually(fulfilled, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; last status {last}\n{self.tail()}") from None
        return last

    def pause(self) -> None:
        """Stop it where it is, as a machine that hangs does."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Return the memory that it holds of the machine's."""
        held = Process(self.process.pid, "").resident_bytes()
        assert held is not None
        return held

    def stop(self, seconds: float = 60) -> int:
        """End it in order; return its exit code."""
        if self.process.poll() is None:
            # Before its door is open, it may not yet listen to signals.
            self.client()
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool | dict) else str(value)
