"""Turn an ensemble into shared libraries for this machine: treelite, tl2cgen, the system's C compiler.

The models come as treelite checkpoints, so that a bundle holds no pickle and compiling needs neither
XGBoost nor scikit-learn. The libraries are the backend `compiled` of `fraudengine._native.Ensemble`: a path
that shares no code with the native kernels and therefore a cross-check on them. They are several times
slower than those kernels, because a tree as code is one unpredictable branch per node.

A library is machine code: it is as trusted as the bundle it lies in, and tied to the processor named in its
`CompiledInfo`. Unset values follow the ensemble: missing features of the booster take the default
direction, those of the forest must be filled in by the caller.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraudengine.errors import CompileError

__all__ = ["CompiledInfo", "CompiledLibrary", "CompilerNotFoundError", "compile_ensemble", "find_compiler"]

_COMPILERS: Final = ("gcc", "clang")
# Source files per model. More files compile in parallel and need less memory each.
_PARTS: Final = 16
# A tree is loads, compares and jumps: nothing for -O3 to gain, and it costs build time.
_OPTIONS: Final = ("-O1",)


class CompilerNotFoundError(CompileError):
    """There is no C compiler on PATH; the native kernels score without one."""


@dataclass(frozen=True)
class CompiledLibrary:
    """One shared library.

    Attributes
    ----------
    path
        The file.
    sha256
        Its hash, hexadecimal.
    source_sha256
        Hash of the treelite checkpoint it was made from.
    build_seconds
        Wall time of code generation and compilation.
    """

    path: Path
    sha256: str
    source_sha256: str
    build_seconds: float


@dataclass(frozen=True)
class CompiledInfo:
    """What was compiled, with what, for what.

    Attributes
    ----------
    booster, forest
        The libraries, `None` where there was no model.
    toolchain
        First line of the compiler's version.
    options
        Options given to it.
    architecture
        Machine architecture, for example `x86_64`.
    cpu_features
        The processor's feature words, sorted, separated by spaces; empty where the system names none.
    """

    booster: CompiledLibrary | None
    forest: CompiledLibrary | None
    toolchain: str
    options: tuple[str, ...]
    architecture: str
    cpu_features: str


def find_compiler() -> str:
    """Name of the C compiler on PATH: `gcc`, else `clang`.

    Raises
    ------
    CompilerNotFoundError
        If there is neither.
    """
    for name in _COMPILERS:
        if shutil.which(name):
            return name
    raise CompilerNotFoundError(f"no C compiler on PATH (looked for {', '.join(_COMPILERS)})")


def compile_ensemble(
    booster: bytes | None, forest: bytes | None, out_dir: str | Path, *, jobs: int | None = None
) -> CompiledInfo:
    """Compile treelite checkpoints to `booster.so` and `forest.so`.

    Parameters
    ----------
    booster, forest
        Checkpoints (`treelite.Model.serialize_bytes`) of the models; at least one.
    out_dir
        Existing folder for the libraries; earlier ones there are replaced whole.
    jobs
        Compiler processes at a time; default: the number of processors.

    Returns
    -------
    CompiledInfo
        Libraries, hashes, toolchain and target.

    Raises
    ------
    CompilerNotFoundError
        If there is no C compiler.
    CompileError
        If there is nothing to compile, a checkpoint is unreadable, or the compiler failed.
    """
    if booster is None and forest is None:
        raise CompileError("there is neither a booster nor a forest to compile")
    toolchain = find_compiler()
    out = Path(out_dir)
    libraries = {
        name: _compile(name, checkpoint, out, toolchain, jobs or os.cpu_count() or 1)
        for name, checkpoint in (("booster", booster), ("forest", forest))
        if checkpoint is not None
    }
    return CompiledInfo(
        booster=libraries.get("booster"),
        forest=libraries.get("forest"),
        toolchain=_version(toolchain),
        options=_OPTIONS,
        architecture=platform.machine(),
        cpu_features=_cpu_features(),
    )


def _compile(name: str, checkpoint: bytes, out: Path, toolchain: str, jobs: int) -> CompiledLibrary:
    import tl2cgen
    import treelite

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fraudengine-compile-") as scratch:
        source = Path(scratch) / name
        try:
            model = treelite.Model.deserialize_bytes(checkpoint)
            with warnings.catch_warnings():
                # tl2cgen bundles an older treelite and says so about every model. That the older one
                # reads the checkpoint right is what the parity tests show.
                warnings.simplefilter("ignore")
                with _standard_output_kept_clean():
                    tl2cgen.generate_c_code(model, dirpath=str(source), params={"parallel_comp": _PARTS})
                built = tl2cgen.create_shared(
                    toolchain,
                    str(source),
                    nthread=jobs,
                    options=list(_OPTIONS),
                    long_build_time_warning=False,
                )
            staged = out / f".{name}.so.new"
            shutil.copyfile(built, staged)
            library = staged.replace(out / f"{name}.so")
        except (treelite.TreeliteError, tl2cgen.TL2cgenError, OSError, subprocess.SubprocessError) as error:
            raise CompileError(f"{name} could not be compiled: {error}") from error
    return CompiledLibrary(
        path=library,
        sha256=hashlib.sha256(library.read_bytes()).hexdigest(),
        source_sha256=hashlib.sha256(checkpoint).hexdigest(),
        build_seconds=time.perf_counter() - begin,
    )


@contextmanager
def _standard_output_kept_clean() -> Iterator[None]:
    """Drop what native code prints there: it belongs to the command's answer, which may be JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _version(toolchain: str) -> str:
    result = subprocess.run([toolchain, "--version"], capture_output=True, text=True, check=False)
    return result.stdout.partition("\n")[0] or toolchain


def _cpu_features() -> str:
    information = Path("/proc/cpuinfo")
    if not information.is_file():
        return ""
    for line in information.read_text("utf-8", "replace").splitlines():
        if line.lower().startswith(("flags", "features")):
            return " ".join(sorted(line.partition(":")[2].split()))
    return ""
