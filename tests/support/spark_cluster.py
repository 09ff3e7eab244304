"""A standalone cluster of Spark on this machine: a master, a worker, and executors of one core each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from child_process import children_of
from stream_process import eventually

from fraudengine.services import ports

__all__ = ["SparkCluster"]

_DEPLOY = "org.apache.spark.deploy"
_EXECUTOR = b"CoarseGrainedExecutorBackend"
EXECUTORS = 2


class SparkCluster:
    """Both daemons, with what they start; a context manager that ends them whatever happens.

    Parameters
    ----------
    folder
        Logs and the worker's files go there.

    """

    def __init__(self, folder: Path) -> None:
        import pyspark

        self._folder = folder
        self._home = Path(pyspark.__file__).parent
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = ports.choose(dict.fromkeys(("master", "master page", "worker page"), 0), {})
        self.master = f"spark://127.0.0.1:{self._ports['master']}"

    @property
    def environment(self) -> dict[str, str]:
        """Return that of a shell in which `spark-submit` is on PATH and executors find this package."""
        programs = f"{self._home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        ours = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable, "PATH": programs}
        return {**os.environ, **ours}

    def kill_executor(self) -> None:
        """End one executor as a power cut would."""
        os.kill(self._executors()[0], signal.SIGKILL)

    def _executors(self) -> list[int]:
        children = children_of(self._daemons["worker"].pid)
        return [child for child in children if _EXECUTOR in Path(f"/proc/{child}/cmdline").read_bytes()]

    def _start(self, name: str, program: str, *arguments: object) -> None:
        command = [self._home / "bin" / "spark-class", program, "--host", "127.0.0.1", *arguments]
        command += ["--webui-port", self._ports[f"{name} page"]]
        with (self._folder / f"{name}.log").open("wb") as log:
            self._daemons[name] = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self.environment,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Start both, wait until the worker has met its master, and return itself."""
        log = self._folder / "worker.log"
        limits = ["--cores", EXECUTORS, "--memory", "2g", "--work-dir", self._folder / "work"]
        try:
            self._start("master", f"{_DEPLOY}.master.Master", "--port", self._ports["master"])
            self._start("worker", f"{_DEPLOY}.worker.Worker", self.master, *limits)
            eventually(lambda: "Successfully registered" in log.read_text(), 90, f"a worker, {log}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """End both."""
        self._end()

    def _end(self) -> None:
        for daemon in self._daemons.values():
            # Executors are in the session of their worker.
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait(30)
