"""Compiled ensembles inside a bundle: `compiled/<target>/` with the library and the record of its origin.

A library is used only when its record names this bundle, this catalogue, this target, and the library's
own size and hash. Anything else is stale or edited and refused with the reason, never silently used.
The target contains a digest of the processor's features: a library made with `-march=native` elsewhere
could stop with an illegal instruction.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fraudengine.bundle import Bundle, file_record, verify_file
from fraudengine.errors import BundleError
from fraudengine.training.compile import compile_ensemble
from fraudengine.training.options import Progress, silent

__all__ = ["Compiled", "compile_bundle", "find_compiled", "host_target"]

_RECORD: Final = "compiled.json"
_RECORD_BYTES_MAX: Final = 1 << 16
_FORMAT: Final = 1
_MODELS: Final = ("booster", "forest")
_SUFFIX: Final = ".so"


@dataclass(frozen=True)
class Compiled:
    """A verified compiled ensemble: its libraries by model (`booster`, `forest`) and `compiled.json`."""

    libraries: dict[str, Path]
    record: dict[str, Any]


def host_target() -> str:
    """Return this machine's name for compiled libraries: system, architecture, digest of CPU features."""
    flags = ""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text("utf-8", "replace").splitlines()
        flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    words = " ".join(sorted(flags.partition(":")[2].split()))
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return f"{platform.system()}-{platform.machine()}-{digest}".lower()


def compile_bundle(path: str | Path, progress: Progress = silent) -> Compiled:
    """Compile the ensemble of a bundle for this machine; an earlier one for it is replaced.

    Parameters
    ----------
    path
        The bundle's folder.
    progress
        Called before and after.

    Raises
    ------
    BundleError
        The bundle is refused.
    CompileError
        There is no compiler, or it failed.

    """
    bundle = Bundle.load(path)
    target = host_target()
    parent = bundle.path / "compiled"
    parent.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".compiling-", dir=parent))
    progress("compile", 0, 1)
    try:
        made = compile_ensemble(_checkpoint(bundle, "booster"), _checkpoint(bundle, "forest"), work)
        libraries = {
            name: library.path
            for name, library in (("booster", made.booster), ("forest", made.forest))
            if library is not None
        }
        record = {
            "format": _FORMAT,
            **_identity(bundle, target),
            "libraries": {model: file_record(place) for model, place in libraries.items()},
            "toolchain": made.toolchain,
            "options": list(made.options),
            "versions": {name: version(name) for name in ("treelite", "tl2cgen")},
        }
        final = Path(tempfile.mkdtemp(prefix=".compiled-", dir=parent))
        for model, place in libraries.items():
            place.rename(final / (model + _SUFFIX))
        (final / _RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")
        final.chmod(0o755)
        shutil.rmtree(parent / target, ignore_errors=True)
        final.rename(parent / target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    progress("compile", 1, 1)
    found = find_compiled(bundle, target)
    assert found is not None, "written above"
    return found


def find_compiled(bundle: Bundle, target: str | None = None) -> Compiled | None:
    """Return the verified library for a target, or `None` when the bundle has none for it.

    Parameters
    ----------
    bundle
        A verified bundle.
    target
        Default: this machine's.

    Raises
    ------
    BundleError
        There is one, but it was made from another model or for another target, or was changed.

    """
    chosen = host_target() if target is None else target
    folder = bundle.path / "compiled" / chosen
    if not folder.is_dir():
        return None
    record = _read(folder)
    if record.get("format") != _FORMAT:
        raise BundleError(f"{folder}: compiled format {record.get('format')!r}, this version reads {_FORMAT}")
    for name, expected in _identity(bundle, chosen).items():
        if record.get(name) != expected:
            raise BundleError(
                f"{folder} is stale: its {name} is {record.get(name)!r}, the bundle's is {expected!r}; "
                "compile again"
            )
    libraries = record.get("libraries")
    if not isinstance(libraries, dict) or not libraries or not set(libraries) <= set(_MODELS):
        raise BundleError(f"{folder}: the record names no libraries")
    for model, library in libraries.items():
        verify_file(folder, model + _SUFFIX, library)
    return Compiled({model: folder / (model + _SUFFIX) for model in libraries}, record)


def _checkpoint(bundle: Bundle, model: str) -> bytes | None:
    name = f"{model}.treelite"
    return bundle.file(name).read_bytes() if name in bundle.content["files"] else None


def _identity(bundle: Bundle, target: str) -> dict[str, str]:
    return {
        "target": target,
        "bundle_hash": bundle.hash,
        "ensemble_sha256": bundle.content["files"]["ensemble.bin"]["sha256"],
        "catalogue_hash": bundle.content["catalogue_hash"],
    }


def _read(folder: Path) -> dict[str, Any]:
    place = folder / _RECORD
    try:
        if place.stat().st_size > _RECORD_BYTES_MAX:
            raise BundleError(f"{place} is larger than {_RECORD_BYTES_MAX} bytes")
        record = json.loads(place.read_bytes())
    except OSError as error:
        raise BundleError(f"{folder} has no {_RECORD}: compile again") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{place} is not JSON: truncated or damaged") from error
    if not isinstance(record, dict):
        raise BundleError(f"{place} is not a JSON object")
    return record
