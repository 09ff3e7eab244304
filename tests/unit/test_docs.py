"""What the documentation names exists: commands with their options, make targets, files, links, places."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from compose_file import ROOT
from shell_blocks import commands_of

from fraudengine.cli.app import app

FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks/README.md"])
DIAGRAMS = {"ARCHITECTURE.md"}
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))


def command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words name, and what follows its name."""
    found: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(found, "commands", {}):
        found, rest = found.commands[rest[0]], rest[1:]
    return found, rest


def options_of(found: Any) -> set[str]:
    named = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
    return named | {"--help", "-h"}


@each_file
def test_commands_in_blocks_are_understood(file: Path) -> None:
    if file.name in DIAGRAMS:
        return
    for each in commands_of(file):
        words = [word for word in each.words if not re.match(r"^[A-Z_]+=", word)]
        words = words[: words.index(">")] if ">" in words else words
        if not words or words[0] != "fraudengine":
            continue
        found, rest = command(words[1:])
        assert not hasattr(found, "commands") or found.invoke_without_command, each.text
        # Raises with a reason when an option is unknown, a value is wrong or an argument is missing.
        found.make_context(found.name or "", rest)


@each_file
def test_commands_in_sentences_exist_with_their_options(file: Path) -> None:
    for text in _INLINE.findall(file.read_text(encoding="utf-8")):
        if not text.startswith("fraudengine ") or "{" in text:
            continue
        words = shlex.split(text)[1:]
        found, rest = command(words)
        assert found.name != "fraudengine", f"{text}: no such command"
        named = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert named <= options_of(found), text


@each_file
def test_make_targets_and_scripts_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {name for code in _INLINE.findall(text) for name in re.findall(r"^make ([a-z-]+)", code)}
    asked |= {each.words[1] for each in commands_of(file) if each.words[0] == "make"} if asked else set()
    assert asked <= targets
    scripts = re.findall(r"(?:python )?\b((?:benchmarks|scripts|examples)/[\w/]+\.(?:py|sh|md))", text)
    assert [name for name in scripts if not (ROOT / name).exists()] == []


@each_file
def test_links_lead_somewhere(file: Path) -> None:
    for target in _LINK.findall(file.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, place = target.partition("#")
        path = (file.parent / name).resolve() if name else file
        assert path.exists(), target
        if place:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {anchor(title) for title in titles}, target


def anchor(title: str) -> str:
    """Return the name of a title's place, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
