"""House style as a failing test: sizes, documentation, walls between crates, and words that do not belong.

One enforcer for what the linters cannot see. Each rule is one test over the files it concerns; a failure
lists every offender, so that one run is enough to mend them all.
"""

from __future__ import annotations

import ast
import re
import subprocess
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 500
FILE_LINES_ADVISED = 300
FUNCTION_LINES_MAX = 70

pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def tracked(*suffixes: str) -> list[Path]:
    """Return the files of these suffixes that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    paths = [ROOT / name for name in listed if name.endswith(suffixes)]
    return sorted(path for path in paths if path.is_file())


SOURCES = tracked(".py", ".pyi", ".rs", ".proto")
PYTHON = tracked(".py", ".pyi")
RUST = tracked(".rs")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def outside_tests(lines: list[str]) -> list[str]:
    """Return the lines of a Rust file before its inline test module."""
    for index, line in enumerate(lines):
        if line.strip() == "#[cfg(test)]":
            return lines[:index]
    return lines


def is_rust_test(path: Path) -> bool:
    return path.stem.endswith(("_tests", "tests")) or bool(
        {"tests", "benches", "fuzz_targets"} & set(path.parts)
    )


def test_the_walk_finds_the_sources() -> None:
    assert ROOT / "python/fraudengine/schema.py" in PYTHON
    assert ROOT / "native/core/src/lib.rs" in RUST


def test_no_file_is_too_long() -> None:
    lengths = {named(path): len(lines_of(path)) for path in SOURCES}
    advised = {
        name: length for name, length in lengths.items() if FILE_LINES_ADVISED < length <= FILE_LINES_MAX
    }
    if advised:
        warnings.warn(f"longer than the advised {FILE_LINES_ADVISED} lines: {advised}", stacklevel=1)
    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_python_function_is_too_long() -> None:
    long = []
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = (
                    node.body[0].end_lineno
                    if ast.get_docstring(node) and node.body[0].end_lineno
                    else node.lineno
                )
                length = (node.end_lineno or first) - first
                if length > FUNCTION_LINES_MAX:
                    long.append(
                        f"{named(path)}:{node.lineno} {node.name} has {length} lines after its docstring"
                    )
    assert long == []


def rust_functions(lines: list[str]) -> list[tuple[int, int]]:
    """Return first line and length of each function, by the indentation that rustfmt guarantees."""
    found = []
    starts = re.compile(r"^(\s*)(pub(\([^)]*\))? )?(const |unsafe |async |extern \"C\" )*fn \w")
    for index, line in enumerate(lines):
        match = starts.match(line)
        if not match:
            continue
        closing = f"{match.group(1)}}}"
        for length, later in enumerate(lines[index:], start=1):
            if later == closing or (length == 1 and later.rstrip().endswith(("}", ";"))):
                found.append((index + 1, length))
                break
            if later.rstrip() == f"{match.group(1)});" or (
                later.startswith(f"{match.group(1)}) ->") and later.endswith(";")
            ):
                break
    return found


def test_no_rust_function_is_too_long() -> None:
    long = [
        f"{named(path)}:{line} has {length} lines"
        for path in RUST
        for line, length in rust_functions(lines_of(path))
        if length > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_file_says_why_it_exists() -> None:
    silent = []
    for path in PYTHON:
        text = path.read_text(encoding="utf-8")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            silent.append(named(path))
    for path in RUST:
        lines = [line for line in lines_of(path) if line.strip() and not line.startswith("#![")]
        if lines and not lines[0].startswith("//!"):
            silent.append(named(path))
    silent += [named(path) for path in tracked(".proto") if not lines_of(path)[0].startswith("//")]
    assert silent == []


def public_without_docstring(tree: ast.Module) -> list[str]:
    """Return the public names of a module that have no docstring: classes, functions and methods."""
    missing = []
    for node in tree.body:
        if not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) or node.name.startswith("_"):
            continue
        inner = node.body if isinstance(node, ast.ClassDef) else []
        methods = [
            item for item in inner if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
        ]
        missing += [item.name for item in (node, *methods) if not ast.get_docstring(item)]
    return missing


def test_public_python_is_documented() -> None:
    package = [path for path in PYTHON if named(path).startswith("python/") and path.suffix == ".py"]
    missing = {
        named(path): names
        for path in package
        if (names := public_without_docstring(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert missing == {}


def test_only_the_bindings_know_python() -> None:
    manifests = [path for path in tracked("Cargo.toml") if path.parent.parent.name == "native"]
    others = [path for path in [*RUST, *manifests] if not named(path).startswith("native/bindings/")]
    knowing = re.compile(r"^\s*(use pyo3|pyo3|extern crate pyo3|numpy)\b|pyo3::")
    assert [named(path) for path in others if any(knowing.search(line) for line in lines_of(path))] == []


def test_type_ignores_name_the_error_and_the_reason() -> None:
    bare = re.compile(r"# type: ignore(?!\[[a-z-]+(, ?[a-z-]+)*\]  # \S)")
    found = [
        f"{named(path)}:{number}"
        for path in PYTHON
        if path != Path(__file__).resolve()
        for number, line in enumerate(lines_of(path), start=1)
        if bare.search(line)
    ]
    assert found == []


def test_rust_never_unwraps_outside_tests() -> None:
    found = [
        f"{named(path)}:{number}"
        for path in RUST
        if not is_rust_test(path)
        for number, line in enumerate(outside_tests(lines_of(path)), start=1)
        if ".unwrap()" in line and not line.lstrip().startswith("//")
    ]
    assert found == []


def test_every_unsafe_is_justified() -> None:
    unjustified = []
    for path in RUST:
        lines = lines_of(path)
        for index, line in enumerate(lines):
            code = line.split("//")[0]
            if re.search(r"\bunsafe (\{|impl\b)", code):
                above = lines[max(0, index - 8) : index + 1]
                if not any("SAFETY:" in other for other in above):
                    unjustified.append(f"{named(path)}:{index + 1}")
    assert unjustified == []


def test_no_machine_path_and_no_unfinished_business() -> None:
    # Assembled here, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(["/" + "work/", "/" + "home/", "/" + "root/", "TO" + "DO", "FIX" + "ME", "XX" + "X"])
    )
    texts = [*SOURCES, *tracked(".md", ".toml", ".yml", ".yaml", "Makefile", ".ci/run")]
    found = [
        f"{named(path)}:{number}: {line.strip()[:80]}"
        for path in texts
        for number, line in enumerate(lines_of(path), start=1)
        if forbidden.search(line)
    ]
    assert found == []


def test_lock_files_name_no_registry() -> None:
    locks = [path for path in tracked(".lock") if path.name != "Cargo.lock"]
    assert locks
    assert [named(path) for path in locks if "://" in path.read_text(encoding="utf-8")] == []
