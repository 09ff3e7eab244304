"""The command line: one file per command, this one only the entry point.

Exit codes are in `exit_codes`. An error the package raises on purpose is one line on standard error;
`--debug` gives the traceback. Notices and progress go to standard error too, so that standard output holds
nothing but the answer, which is JSON with `--json`.
"""

from __future__ import annotations

from fraudengine.cli.app import main

__all__ = ["main"]
