"""Jars of Kafka and of Spark's connector: fetched once into the user's cache, used by locked hash only.

They are fetched by the user's own Maven tools: jgo (a Maven resolver in pure Python, part of the extra
`demo`) or, where that is missing or fails, `mvn` on PATH. Which repository they ask is theirs to know
(mirrors included).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from fraudengine.errors import ServiceError

__all__ = ["Jar", "cache_folder", "fetch", "fetched", "locked_jars"]

_FETCHERS = 4
_NAMES = {"kafka": "Apache Kafka", "spark": "Spark's Kafka connector"}
_POM = """\
<project>
<modelVersion>4.0.0</modelVersion>
<groupId>fraudengine</groupId><artifactId>jars</artifactId><version>1</version>
<dependencies>{}</dependencies>
</project>
"""
# Nothing comes along that is not in the lock.
_DEPENDENCY = """
<dependency>
<groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
</dependency>
"""


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar of the lock: its exact Maven coordinate and the SHA-256 of its bytes, in hexadecimal."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """Return the name of its file."""
        return f"{self.artifact}-{self.version}.jar"

    def right(self, path: Path) -> bool:
        """Tell whether this file is there and has the locked hash."""
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


def locked_jars(what: str = "kafka") -> list[Jar]:
    """Return the jars of a lock that comes with this package: `kafka` or `spark`."""
    lock = resources.files("fraudengine.services").joinpath(f"{what}_jars.lock")
    text = lock.read_text(encoding="utf-8")
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinate, _, digest = line.partition(" sha256:")
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, digest))
    return jars


def cache_folder() -> Path:
    """Return the folder for what can be fetched again: `fraudengine` in `XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "fraudengine"


def fetched(report: Callable[[str], None], *, cache: Path | None = None, what: str = "kafka") -> list[Path]:
    """Return the paths of all jars, fetching those that are missing or damaged.

    Parameters
    ----------
    report
        Called with one line when something is fetched.
    cache
        Folder of the jars; None takes the one named like the lock in `cache_folder()`.
    what
        The lock: `kafka` or `spark`.

    Raises
    ------
    ServiceError
        No tool can fetch them, or what was fetched has another hash.
    """
    folder = cache_folder() / what if cache is None else cache
    return fetch(locked_jars(what), folder, _NAMES[what], report)


def fetch(jars: Sequence[Jar], folder: Path, name: str, report: Callable[[str], None]) -> list[Path]:
    """Return the paths of jars in a folder, fetching those that are missing or damaged.

    Parameters
    ----------
    jars
        What is wanted, and the hash of each.
    folder
        Made if it is missing.
    name
        What they are, for people.
    report
        Called with one line when something is fetched.

    Raises
    ------
    ServiceError
        As in `fetched`.
    """
    missing = [jar for jar in jars if not jar.right(folder / jar.name)]
    if missing:
        report(f"fetching {len(missing)} jars of {name}, once, into {folder}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(missing, folder, name)
        except OSError as error:
            raise ServiceError(f"the jars of {name} cannot be kept in {folder}: {error}") from error
    return [folder / jar.name for jar in jars]


def _fetch(jars: Sequence[Jar], folder: Path, name: str) -> None:
    failures = []
    for tool in (_with_jgo, _with_maven):
        # On the same file system as the cache, so that a verified jar is moved there in one step.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            try:
                paths = tool(jars, Path(scratch))
            except _FetchError as error:
                failures.append(str(error))
                continue
            for jar, path in zip(jars, paths, strict=True):
                if not jar.right(path):
                    raise ServiceError(
                        f"{jar.group}:{jar.artifact}:{jar.version} has another SHA-256 than the lock says"
                    )
                path.replace(folder / jar.name)
            return
    raise ServiceError(f"the jars of {name} cannot be fetched: {'; '.join(failures)}")


class _FetchError(Exception):
    """One tool cannot fetch; another may."""


def _with_jgo(jars: Sequence[Jar], scratch: Path) -> list[Path]:
    if find_spec("jgo") is None:
        raise _FetchError("jgo is not installed (pip install 'fraudengine[demo]')")
    from jgo.config import GlobalSettings
    from jgo.constants import default_maven_repo
    from jgo.maven import MavenContext

    configured = GlobalSettings.load().repositories
    context = MavenContext(
        repo_cache=scratch,
        local_repos=[default_maven_repo()],
        remote_repos=dict(configured) or None,
        timeout=60,
    )

    def resolve(jar: Jar) -> Path:
        found = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        path = scratch / jar.name
        # A copy: what lies in the user's own Maven folder stays there.
        return Path(shutil.copyfile(found, path))

    try:
        with ThreadPoolExecutor(_FETCHERS) as fetchers:
            return list(fetchers.map(resolve, jars))
    except (OSError, RuntimeError) as error:
        raise _FetchError(f"jgo: {' '.join(str(error).split())[:300]}") from error


def _with_maven(jars: Sequence[Jar], scratch: Path) -> list[Path]:
    maven = shutil.which("mvn")
    if maven is None:
        raise _FetchError("mvn is not on PATH")
    dependencies = "".join(_DEPENDENCY.format(jar.group, jar.artifact, jar.version) for jar in jars)
    (scratch / "pom.xml").write_text(_POM.format(dependencies), encoding="utf-8")
    done = subprocess.run(
        [
            maven,
            "-B",
            "-q",
            "-f",
            str(scratch / "pom.xml"),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={scratch}",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = next((line for line in done.stdout.splitlines() if line.startswith("[ERROR]")), done.stderr)
        raise _FetchError(f"mvn: {' '.join(said.split())[:300]}")
    return [scratch / jar.name for jar in jars]
