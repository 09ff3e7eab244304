"""The folder of a live demonstration: one run at a time, emptied before it, with settings of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fraudengine import config, services
from fraudengine.config import Settings
from fraudengine.demo import parts
from fraudengine.errors import ConfigError

__all__ = ["INBOX", "SERVICES", "SETTINGS", "settings_of", "taken"]

SERVICES: Final = "services"
"""Name of the folder that the embedded services use."""
SETTINGS: Final = config.FILE_NAME
"""Name of the file with which other commands find services and state of the demonstration."""
INBOX: Final = "inbox"
"""Name of the folder that messages about alerts are written to."""
_STATE: Final = "state"
_ALERTS: Final = "alerts"
_MARK: Final = ".demo.lock"


@contextmanager
def taken(out: Path) -> Iterator[None]:
    """Hold the folder alone while the block runs, without services and state of an earlier run.

    Raises
    ------
    ConfigError
        Another demonstration runs in it, or folders that would be replaced are not those of a demonstration.

    """
    owned = [out / name for name in (SERVICES, _STATE, _ALERTS, INBOX)]
    mark = out / _MARK
    if not mark.exists() and (strange := [path for path in owned if path.exists()]):
        raise ConfigError(f"{strange[0]} would be replaced but is not of a demonstration: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another demonstration runs in {out}: give another --out") from error
        parts.stop_left(out)
        services.down(out / SERVICES)
        for path in owned:
            if path.exists():
                shutil.rmtree(path)
        yield
    finally:
        os.close(handle)


def settings_of(out: Path, *, threads: int) -> Settings:
    """Write the settings of the demonstration into its folder and return what it runs with.

    It runs on services of its own whatever environment and working folder say: nothing made up must reach
    a real cluster. One partition, because the order of several is not kept while a backlog is read, and the
    warm-up is one: records would be late for their windows.
    """
    out = out.absolute()
    lines = [
        "# Finds services and state of the demonstration: fraudengine up --config THIS, and other commands.",
        "[kafka]\npartitions = 1",
        f"[engine]\nthreads = {threads}",
        f"[state]\nfolder = {json.dumps(str(out / _STATE))}",
        f"[alerts]\nstate_folder = {json.dumps(str(out / _ALERTS))}",
        f"[embedded]\nfolder = {json.dumps(str(out / SERVICES))}",
    ]
    file = out / SETTINGS
    file.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    flags: dict[str, object] = {
        "kafka.brokers": "",
        "kafka.client": {},
        "kafka.partitions": 1,
        "kafka.start": "earliest",
        "engine.threads": threads,
        "state.folder": out / _STATE,
        "alerts.state_folder": out / _ALERTS,
        "postgres.enabled": True,
        "postgres.url": "",
        "postgres.retention_days": 0,
        "redis.enabled": True,
        "redis.url": "",
        "http.host": "127.0.0.1",
        "http.port": 0,
        # The view has the terminal to itself; what matters is in it.
        "log.level": "error",
        "embedded.folder": out / SERVICES,
        **{f"embedded.{name}_port": 0 for name in services.ALL},
    }
    return config.load(file, flags)
