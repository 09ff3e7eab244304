"""Where the programs of the services lie: inside an installed wheel, or on PATH.

Wheels are looked into, never imported: some of them start or warn about things when imported.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

__all__ = ["on_path", "packaged"]


def packaged(package: str, pattern: str) -> Path | None:
    """Return the file of an installed package that matches a glob pattern (the last by name) or None."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    found = sorted(path for folder in folders for path in Path(folder).glob(pattern) if path.is_file())
    return found[-1] if found else None


def on_path(*programs: str) -> Path | None:
    """Return the path of the first of these programs that is on PATH; None if none is."""
    return next((Path(found) for program in programs if (found := shutil.which(program))), None)
