"""One virtual environment for each peer, with the versions that its requirements file pins.

Peers disagree about versions of numpy, protobuf and scikit-learn, and none of them should decide what another
one runs with. Environments lie in `.environments/` beside this file (git-ignored) and are made anew when
the requirements file changes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements"
FOLDER = HERE / ".environments"
_PACKAGES = {"spark": "pyspark", "flink": "apache-flink"}
"""Packages of peers that are not called like them."""


def pins(peer: str) -> dict[str, str]:
    """Return the pinned versions of a peer's requirements file, by package."""
    text = (REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.\-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE))


def versions(peer: str, beside: str) -> dict[str, str]:
    """Return the pinned versions of a peer's own package and of one beside it."""
    pinned = pins(peer)
    return {package: pinned[package] for package in (_PACKAGES.get(peer, peer), beside)}


def python(peer: str) -> Path:
    """Return the interpreter of a peer's environment; make the environment where it is missing or stale."""
    requirements = REQUIREMENTS / f"{peer}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = FOLDER / peer
    made = folder / "requirements.sha256"
    interpreter = folder / "bin" / "python"
    if made.exists() and made.read_text(encoding="utf-8") == wanted:
        return interpreter
    print(f"making the environment of {peer}", file=sys.stderr, flush=True)
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        interpreter,
        "-r",
        requirements,
    ]
    subprocess.run(install, check=True)
    made.write_text(wanted, encoding="utf-8")
    return interpreter
