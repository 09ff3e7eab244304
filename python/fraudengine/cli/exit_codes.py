"""Exit codes of every command: what a script can rely on.

A bad row in a history is no failure: it is left out and counted, and the command ends with `OK`.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Why the process ended."""

    OK = 0
    """The job was done."""
    FAILED = 1
    """The job could not be done: unreadable input, a refused bundle, data that supports no model."""
    USAGE = 2
    """The command was called wrongly: unknown option, a value out of range, a setting that is refused."""
    BUG = 70
    """An error nobody foresaw (EX_SOFTWARE); run again with `--debug` and report it."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""
