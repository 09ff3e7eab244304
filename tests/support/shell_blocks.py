"""The shell commands of Markdown files: every fenced block without a language, or marked as shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "commands_of"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "sh", "shell", "bash", "console")


@dataclass(frozen=True)
class Command:
    """One command with its continuation lines.

    Attributes
    ----------
    file
        Where it stands.
    text
        As a shell takes it, without the remark behind it.

    """

    file: Path
    text: str

    @property
    def words(self) -> list[str]:
        """The words of it, as a shell splits them."""
        return shlex.split(self.text, comments=True)


def commands_of(file: Path) -> list[Command]:
    """Return the commands of a file in their order."""
    found = []
    for language, block in _FENCE.findall(file.read_text(encoding="utf-8")):
        if language in _SHELL:
            found += [Command(file, text) for text in _split(block)]
    return found


def _split(block: str) -> list[str]:
    """Split a block into commands: a line goes on after a backslash, or while a quote is open."""
    texts, so_far = [], ""
    for line in block.splitlines():
        so_far += line
        if so_far.endswith("\\"):
            so_far = so_far[:-1].rstrip() + " "
            continue
        try:
            words = shlex.split(so_far, comments=True)
        except ValueError:
            so_far += "\n"
            continue
        if words:
            texts.append(_without_remark(so_far))
        so_far = ""
    assert not so_far, f"a quote or a backslash is left open: {so_far}"
    return texts


def _without_remark(text: str) -> str:
    """Remove what follows a `#` behind blanks, as long as it is outside of quotes."""
    for match in reversed(list(re.finditer(r"\s+#", text))):
        if shlex.split(text[: match.start()] + " ", comments=True) == shlex.split(text, comments=True):
            text = text[: match.start()]
    return text.strip()
