"""The Dockerfile, as far as it can be checked without building it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from compose_file import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions as pairs of name and rest, comments left out and lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in pairs]


def of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def test_only_known_instructions_in_three_stages() -> None:
    known = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known
    stages = of("FROM")
    assert len(stages) == 3
    assert all(re.match(r"\w+:\d+\.\d+\.\d+-(slim-)?bookworm( AS \w+)?$", stage) for stage in stages)


def test_what_is_copied_exists_and_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    through = {line[1:] for line in ignored if line.startswith("!")}
    sources = [name for rest in of("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in sources)
    assert {name.split("/")[0] for name in sources} == through
    stages = {stage.split(" AS ")[1] for stage in of("FROM") if " AS " in stage}
    assert set(re.findall(r"--from=(\w+)", " ".join(of("COPY")))) == stages


def test_every_package_has_a_fixed_version() -> None:
    for run in of("RUN"):
        for command in re.findall(r"pip install [^&]*", run):
            assert "--require-hashes" in command or "--no-deps /tmp/wheels" in command, command
        if "uv build" in run:
            assert "--require-hashes --build-constraints requirements-dev.lock" in run
            assert "MATURIN_PEP517_ARGS=--locked" in run
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_it_ends_as_another_user_than_root() -> None:
    names = [name for name, _ in instructions()]
    assert names.index("USER") > len(names) - names[::-1].index("RUN") - 1
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.split(':')[0]} " in " ".join(of("RUN"))
    assert of("ENTRYPOINT") == ['["fraudengine"]']


def test_no_secret_can_slip_in() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert not re.search(r"password|secret|token|ARG ", text, re.IGNORECASE)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_hadolint_finds_nothing() -> None:
    if (linter := shutil.which("hadolint")) is None:
        pytest.skip("hadolint is not installed")
    # DL3008: the distribution keeps no old versions of its packages to fix.
    done = subprocess.run([linter, "--ignore", "DL3008", str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
