"""The model bundle: a folder that either is exactly what training wrote, or is refused.

`manifest.json` lists every file with its size and SHA-256, and the hash of the feature catalogue the
model was trained on. `Bundle.load` believes nothing: it checks all of it before anything is parsed. There
is no pickle; the model files are XGBoost's and treelite's own formats and the native ensemble.

The bundle hash is the SHA-256 of the manifest's `content` in canonical JSON: the same data, options, seed
and library versions give the same hash. `compiled/` is outside of it, because a shared library belongs
to a machine; `fraudengine.training.compile_bundle` verifies that part by its own record.

Limits: manifest 4 MiB, 64 files, 512 MiB each. A manifest cannot name a path outside its folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from fraudengine import _native, features
from fraudengine.activation import Activation
from fraudengine.engine import Engine
from fraudengine.errors import BundleError

__all__ = ["FORMAT", "Bundle", "file_record", "write_bundle"]

FORMAT: Final = 1
"""Version of the folder's layout."""

MANIFEST: Final = "manifest.json"
_MANIFEST_BYTES_MAX: Final = 4 << 20
_FILE_BYTES_MAX: Final = 512 << 20
_FILES_MAX: Final = 64
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_POLICY: Final = ("slope", "intercept", "review_from", "block_from")
_REQUIRED: Final = ("ensemble.bin", "policy.json", "golden.parquet")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes
    ----------
    path
        Its folder.
    content
        The deterministic part of the manifest: `catalogue_hash`, `feature_names`, `options`, `windows`,
        `policy`, `metrics`, `versions`, `files`.
    hash
        SHA-256 of `content`, 64 hexadecimal digits.

    """

    path: Path
    content: dict[str, Any]
    hash: str

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Verify a bundle.

        Parameters
        ----------
        path
            The bundle's folder.

        Raises
        ------
        BundleError
            Something is missing, truncated, changed, of another format or for another feature
            catalogue; the message says what.

        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        if manifest.get("format") != FORMAT:
            raise BundleError(
                f"{folder}: bundle format {manifest.get('format')!r}, this version reads {FORMAT}"
            )
        content = manifest.get("content")
        if not isinstance(content, dict):
            raise BundleError(f"{folder}: the manifest has no content")
        found = content_hash(content)
        if manifest.get("bundle_hash") != found:
            raise BundleError(f"{folder}: the manifest was edited (states {manifest.get('bundle_hash')!r})")
        if content.get("catalogue_hash") != features.catalogue_hash():
            raise BundleError(
                f"{folder}: made for feature catalogue {content.get('catalogue_hash')!r}, "
                f"this engine computes {features.catalogue_hash()}; train again"
            )
        _verify_files(folder, content.get("files"))
        return cls(folder, content, found)

    def file(self, name: str) -> Path:
        """Return the path of a verified file.

        Raises
        ------
        BundleError
            The bundle has no such file.

        """
        if name not in self.content["files"]:
            raise BundleError(f"{self.path}: the bundle has no file {name}")
        return self.path / name

    def policy(self) -> dict[str, Any]:
        """Return calibration and thresholds: `slope`, `intercept`, `review_from`, `block_from`, `stage`.

        Raises
        ------
        BundleError
            `policy.json` is not such an object.

        """
        try:
            policy = json.loads(self.file("policy.json").read_bytes())
            numbers = {name: float(policy[name]) for name in _POLICY}
        except (ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{self.path}: policy.json is not a policy") from error
        return {**policy, **numbers}

    def engine(self, *, backend: str = "auto", threads: int = 1, **settings: Any) -> Engine:  # noqa: ANN401
        """Return an engine that decides with this model.

        Parameters
        ----------
        backend
            As in `Engine.activate`; `compiled` uses the library that `fraudengine compile` made here.
        threads, settings
            As in `Engine`.

        Raises
        ------
        BundleError
            `compiled` was asked for, and there is no library for this machine or it is stale.
        ModelError
            The ensemble is malformed or the backend cannot run it.
        ConfigError
            A setting is outside its range.

        """
        engine = Engine(threads=threads, **settings)
        self.activate_on(engine, backend=backend)
        return engine

    def activate_on(self, engine: Engine, *, backend: str = "auto") -> None:
        """Let an engine decide with this model from the next transaction on.

        Raises
        ------
        BundleError, ModelError
            As in `engine`.

        """
        engine.activate(self.activation(backend=backend))

    def predictor(self, *, backend: str = "auto") -> _native.Predictor:
        """Return this model without an engine: it scores feature vectors and keeps no state.

        Parameters
        ----------
        backend
            As in `engine`.

        Raises
        ------
        BundleError, ModelError
            As in `engine`.

        """
        return _native.Predictor(self.activation(backend=backend))

    def activation(self, *, backend: str = "auto") -> Activation:
        """Return what native code needs in order to decide with this model.

        Parameters
        ----------
        backend
            As in `engine`.

        Raises
        ------
        BundleError
            A file is not what the manifest says, or, for `compiled`, as in `engine`.

        """
        policy = self.policy()
        libraries = self._libraries() if backend == "compiled" else {}
        return Activation(
            ensemble=self.file("ensemble.bin").read_bytes(),
            slope=policy["slope"],
            intercept=policy["intercept"],
            review_from=policy["review_from"],
            block_from=policy["block_from"],
            bundle_hash=self.hash,
            backend=backend,
            booster_library=libraries.get("booster"),
            forest_library=libraries.get("forest"),
        )

    def _libraries(self) -> dict[str, Path]:
        from fraudengine.training.compile_bundle import find_compiled

        compiled = find_compiled(self)
        if compiled is None:
            raise BundleError(f"{self.path} has no library for this machine: run fraudengine compile")
        return compiled.libraries


def content_hash(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of the manifest's content."""
    return hashlib.sha256(_canonical(content).encode("utf-8")).hexdigest()


def file_record(path: Path) -> dict[str, Any]:
    """Return the size in bytes and SHA-256 of a file, as manifests record them."""
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def write_bundle(
    out: str | Path, files: dict[str, bytes], content: dict[str, Any], *, replace: bool = False
) -> Bundle:
    """Write a bundle, complete or not at all: into a folder beside it, then renamed.

    Parameters
    ----------
    out
        Folder to create.
    files
        Content of each file by its relative path.
    content
        The manifest's content without `files`.
    replace
        Replace an existing bundle; anything else at `out` is never touched.

    Raises
    ------
    BundleError
        `out` exists and is not a bundle, or `replace` is not set, or a limit is exceeded.

    """
    target = Path(out)
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        if not replace:
            raise BundleError(f"{target} exists already")
        if not (target / MANIFEST).is_file():
            raise BundleError(f"{target} exists and is not a bundle")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for name, data in files.items():
            _check_name(target, name)
            place = work / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        records = {name: file_record(work / name) for name in sorted(files)}
        whole = {**content, "files": records}
        manifest = {"format": FORMAT, "bundle_hash": content_hash(whole), "content": whole}
        (work / MANIFEST).write_text(
            json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8"
        )
        work.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Bundle.load(target)


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _read_manifest(folder: Path) -> dict[str, Any]:
    place = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder")
    if not place.is_file():
        raise BundleError(f"{folder} has no {MANIFEST}: not a bundle, or an incomplete copy")
    if place.stat().st_size > _MANIFEST_BYTES_MAX:
        raise BundleError(f"{place} has {place.stat().st_size} bytes, the limit is {_MANIFEST_BYTES_MAX}")
    try:
        manifest = json.loads(place.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{place} is not JSON: truncated or damaged") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{place} is not a JSON object")
    return manifest


def _check_name(folder: Path, name: str) -> None:
    """Refuse every name that could lead out of the folder."""
    if len(name) > 512 or not all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        raise BundleError(f"{folder}: the manifest names a file outside the bundle: {name!r}")


def _verify_files(folder: Path, files: object) -> None:
    if not isinstance(files, dict):
        raise BundleError(f"{folder}: the manifest lists no files")
    if len(files) > _FILES_MAX:
        raise BundleError(f"{folder}: the manifest lists {len(files)} files, the limit is {_FILES_MAX}")
    for name in _REQUIRED:
        if name not in files:
            raise BundleError(f"{folder}: the manifest does not list {name}")
    for name, record in files.items():
        _check_name(folder, name)
        verify_file(folder, name, record)


def verify_file(folder: Path, name: str, record: object) -> None:
    """Check one file against its record.

    Raises
    ------
    BundleError
        The file is missing, linked from elsewhere, of another size, or has another hash.

    """
    if not isinstance(record, dict) or not _SHA256.fullmatch(str(record.get("sha256"))):
        raise BundleError(f"{folder}: the manifest has no hash of {name}")
    place = folder / name
    if place.resolve() != folder.resolve() / name:
        raise BundleError(f"{place} is a link: every file must lie inside the bundle")
    if not place.is_file():
        raise BundleError(f"{place} is missing")
    size = place.stat().st_size
    if size > _FILE_BYTES_MAX:
        raise BundleError(f"{place} has {size} bytes, the limit is {_FILE_BYTES_MAX}")
    if size != record.get("bytes"):
        raise BundleError(
            f"{place} has {size} bytes, the manifest says {record.get('bytes')}: truncated or changed"
        )
    if file_record(place)["sha256"] != record["sha256"]:
        raise BundleError(f"{place} was changed: its hash is not the manifest's")
