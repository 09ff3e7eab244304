"""`fraudengine serve` as a process of its own, with its address and its memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ScoringProcess", "scoring_process"]

STOP_SECONDS = 30


@dataclass(frozen=True)
class ScoringProcess:
    """A service that answers.

    Attributes
    ----------
    address
        `HOST:PORT`.
    pid
        Of the process.
    native
        Address of the native transport, where the settings ask for it.
    metrics
        Address of the page of metrics.

    """

    address: str
    pid: int
    native: str | None = None
    metrics: str | None = None

    def resident_bytes(self) -> int:
        """Return the memory of the process."""
        return int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]) * 4_096


@contextmanager
def scoring_process(bundle: Path, *settings: str, said: int | None = None) -> Iterator[ScoringProcess]:
    """Yield a service that runs until the block ends; it must drain, and say so unless `said` takes it."""
    program = "import sys; from fraudengine.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "serve", str(bundle), "--json"]
    for setting in ("serve.port=0", "http.port=0", *settings):
        command += ["--set", setting]
    with (
        tempfile.TemporaryFile() as kept,
        subprocess.Popen(
            command, cwd=bundle.parent, stdout=subprocess.PIPE, stderr=kept if said is None else said
        ) as process,
    ):
        try:
            assert process.stdout is not None
            answer = b""
            while not answer.endswith(b"\n}\n") and (line := process.stdout.readline()):
                answer += line
            told = json.loads(answer)
            yield ScoringProcess(told["address"], process.pid, told["native"], told["metrics"])
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=STOP_SECONDS)
            kept.seek(0)
            told_last = kept.read()
            drained = said is not None or b"drained" in told_last
            assert (process.returncode, drained) == (0, True), told_last[-4_000:]
        finally:
            process.kill()
