"""Runs the commands of one Markdown file in a folder, as a reader would: in order, some in another terminal.

What a reader would leave running (a server) runs in the background until the file ends or the same command
comes again; sizes and fixed ports are mapped, everything else is run as it is written.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fraudengine.services.processes import wait_until

__all__ = ["Session"]

READY = {
    "stream": "streaming with",
    "serve": "metrics at",
    "alerts": "alerts go to",
    "dashboard": "dashboard at",
}
"""What those say that go on, when they are ready."""
_SECONDS_MAX = 300.0


@dataclass
class _Server:
    process: subprocess.Popen[bytes]
    log: Path


@dataclass
class Session:
    """One reader.

    Attributes
    ----------
    folder
        Where the commands are run.
    programs
        Folder of `fraudengine` and `python`.
    mapped
        Texts that stand for others here.

    """

    folder: Path
    programs: Path
    mapped: Mapping[str, str]
    _servers: dict[str, _Server] = field(default_factory=dict)
    _said_before: str = ""

    def run(self, text: str) -> None:
        """Run a command as it is written; it must succeed, or say that it is ready."""
        for here, there in self.mapped.items():
            text = text.replace(here, there)
        if re.match(r"^[A-Z]+=\S", text) and "fraudengine" not in text:
            # A variable, for the commands behind it.
            self._said_before += f"{text}\n"
            return
        kind = self._goes_on(text)
        if kind:
            self._start(kind, text)
            return
        done = subprocess.run(
            ["bash", "-euc", self._said_before + text],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS_MAX,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    def end(self) -> None:
        """End what goes on, as Ctrl-C would; each must end well."""
        servers, self._servers, self._said_before = self._servers, {}, ""
        for kind, server in reversed(servers.items()):
            self._stop(kind, server)

    def close(self) -> None:
        """Leave nothing running, whatever happened."""
        for server in self._servers.values():
            server.process.kill()
            server.process.wait()

    def _environment(self) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("FRAUDENGINE_")}
        return {**ours, "PATH": f"{self.programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def _goes_on(self, text: str) -> str:
        """Return the name of a command that goes on until Ctrl-C; empty for any other."""
        found = re.match(r"^(?:[A-Z_]+=\S+ )*fraudengine (\w+)(?: (\w+))?", text)
        command, behind = found.groups() if found else ("", "")
        goes_on = command in READY and not (command == "alerts" and behind)
        return command if goes_on else ""

    def _start(self, kind: str, text: str) -> None:
        if kind in self._servers:
            self._stop(kind, self._servers.pop(kind))
        log = self.folder / f"{kind}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-euc", f"{self._said_before}exec env {text}"],
                cwd=self.folder,
                env=self._environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._servers[kind] = _Server(process, log)

        def settled() -> bool:
            return READY[kind] in log.read_text(errors="replace") or process.poll() is not None

        assert wait_until(settled, _SECONDS_MAX), f"{text}\n{log.read_text(errors='replace')[-2000:]}"
        assert process.poll() is None, f"{text}\n{log.read_text(errors='replace')[-2000:]}"

    def _stop(self, kind: str, server: _Server) -> None:
        server.process.send_signal(signal.SIGINT)
        code = server.process.wait(_SECONDS_MAX)
        assert code == 0, f"{kind} ended with {code}\n{server.log.read_text(errors='replace')[-2000:]}"
