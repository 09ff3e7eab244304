"""A compiled library is used only for the model, target and bytes that its record names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fraudengine import features
from fraudengine.bundle import Bundle, file_record, write_bundle
from fraudengine.errors import BundleError
from fraudengine.training.compile_bundle import find_compiled, host_target

FILES = {"ensemble.bin": b"model", "policy.json": b"{}", "golden.parquet": b"rows"}
CONTENT: dict[str, Any] = {"catalogue_hash": features.catalogue_hash()}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle with a well-formed record for this machine."""
    made = write_bundle(tmp_path / "model", FILES, CONTENT)
    folder = made.path / "compiled" / host_target()
    folder.mkdir(parents=True)
    (folder / "booster.so").write_bytes(b"machine code")
    record = {
        "format": 1,
        "target": host_target(),
        "bundle_hash": made.hash,
        "ensemble_sha256": made.content["files"]["ensemble.bin"]["sha256"],
        "catalogue_hash": features.catalogue_hash(),
        "libraries": {"booster": file_record(folder / "booster.so")},
    }
    (folder / "compiled.json").write_text(json.dumps(record))
    return made


def record_place(bundle: Bundle) -> Path:
    return bundle.path / "compiled" / host_target() / "compiled.json"


def test_a_fitting_library_is_found(bundle: Bundle) -> None:
    found = find_compiled(bundle)
    assert found is not None
    assert found.libraries["booster"].read_bytes() == b"machine code"


def test_a_bundle_without_library_for_a_target_has_none(bundle: Bundle) -> None:
    assert find_compiled(bundle, "solaris-sparc-0") is None


@pytest.mark.parametrize("name", ["target", "bundle_hash", "ensemble_sha256", "catalogue_hash"])
def test_a_stale_library_is_refused(bundle: Bundle, name: str) -> None:
    record = json.loads(record_place(bundle).read_text())
    record_place(bundle).write_text(json.dumps({**record, name: "another"}))
    with pytest.raises(BundleError, match=f"stale: its {name}"):
        find_compiled(bundle)


def test_an_edited_library_is_refused(bundle: Bundle) -> None:
    (record_place(bundle).parent / "booster.so").write_bytes(b"machine c0de")
    with pytest.raises(BundleError, match="was changed"):
        find_compiled(bundle)


@pytest.mark.parametrize("libraries", [None, {}, {"../../booster": {}}, {"other": {}}, []])
def test_a_record_of_other_libraries_is_refused(bundle: Bundle, libraries: object) -> None:
    record = json.loads(record_place(bundle).read_text())
    record_place(bundle).write_text(json.dumps({**record, "libraries": libraries}))
    with pytest.raises(BundleError, match="names no libraries"):
        find_compiled(bundle)


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "not JSON"), ("[]", "not a JSON object"), ("{}", "format None")]
)
def test_a_damaged_record_is_refused(bundle: Bundle, text: str, reason: str) -> None:
    record_place(bundle).write_text(text)
    with pytest.raises(BundleError, match=reason):
        find_compiled(bundle)


def test_a_library_without_record_is_refused(bundle: Bundle) -> None:
    record_place(bundle).unlink()
    with pytest.raises(BundleError, match=r"no compiled\.json"):
        find_compiled(bundle)


def test_asking_for_a_library_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    policy = b'{"slope": 1, "intercept": 0, "review_from": 0.5, "block_from": 0.9}'
    made = write_bundle(tmp_path / "plain", {**FILES, "policy.json": policy}, CONTENT)
    with pytest.raises(BundleError, match="run fraudengine compile"):
        made.engine(backend="compiled")
