"""A bundle is exactly what was written, or it is refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fraudengine import features
from fraudengine.bundle import Bundle, content_hash, write_bundle
from fraudengine.errors import BundleError

FILES = {
    "ensemble.bin": b"not scored here",
    "policy.json": b'{"slope": 1, "intercept": 0, "review_from": 0.5, "block_from": 0.9, "stage": "booster"}',
    "golden.parquet": b"rows",
    "report/report.html": b"<p>",
}
CONTENT: dict[str, Any] = {"catalogue_hash": features.catalogue_hash(), "seed": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "model", FILES, CONTENT).path


def edit(folder: Path, change: Any, *, rehash: bool = True) -> None:
    """Change the manifest's content as an attacker would who knows the format."""
    place = folder / "manifest.json"
    manifest = json.loads(place.read_text())
    change(manifest["content"])
    if rehash:
        manifest["bundle_hash"] = content_hash(manifest["content"])
    place.write_text(json.dumps(manifest))


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        Bundle.load(folder)


def test_what_was_written_is_loaded(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.file("report/report.html").read_bytes() == b"<p>"
    assert bundle.policy()["block_from"] == 0.9
    assert len(bundle.hash) == 64
    with pytest.raises(BundleError, match="no file"):
        bundle.file("other")


def test_the_hash_is_of_content_not_of_place_or_formatting(folder: Path, tmp_path: Path) -> None:
    again = write_bundle(tmp_path / "elsewhere", dict(reversed(FILES.items())), CONTENT)
    assert again.hash == Bundle.load(folder).hash
    other = write_bundle(tmp_path / "other", {**FILES, "golden.parquet": b"rowz"}, CONTENT)
    assert other.hash != again.hash


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(bytes(data))
    refused(folder, "was changed")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    refused(folder, "truncated")
    (folder / name).unlink()
    refused(folder, "missing")


def test_an_edited_manifest_is_refused(folder: Path) -> None:
    edit(folder, lambda content: content.update(seed=2), rehash=False)
    refused(folder, "manifest was edited")


def test_another_feature_catalogue_is_refused(folder: Path) -> None:
    edit(folder, lambda content: content.update(catalogue_hash="0" * 32))
    refused(folder, "train again")


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/passwd", "a/../../b", "a//b", "", ".", "a\\..\\b", "C:x", "a\x00b", ".hidden"],
)
def test_a_path_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    edit(folder, lambda content: content["files"].update({name: content["files"]["ensemble.bin"]}))
    refused(folder, "outside the bundle")


def test_a_link_to_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "same-bytes"
    shutil.move(folder / "ensemble.bin", outside)
    (folder / "ensemble.bin").symlink_to(outside)
    refused(folder, "is a link")


def test_required_files_must_be_listed(folder: Path) -> None:
    edit(folder, lambda content: content["files"].pop("golden.parquet"))
    refused(folder, "does not list golden.parquet")


def test_too_many_files_are_refused(folder: Path) -> None:
    record = {"bytes": 0, "sha256": "0" * 64}
    edit(folder, lambda content: content["files"].update({f"f{n}": record for n in range(65)}))
    refused(folder, "limit is 64")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ('{"format": 1', "not JSON"),
        ("[]", "not a JSON object"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "no content"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_damaged_manifest_is_refused(folder: Path, text: str, reason: str) -> None:
    (folder / "manifest.json").write_text(text)
    refused(folder, reason)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(5 << 20)
    refused(folder, "limit is")


@pytest.mark.parametrize("record", [None, {}, {"bytes": 1, "sha256": "zz"}])
def test_a_file_without_a_hash_is_refused(folder: Path, record: object) -> None:
    edit(folder, lambda content: content["files"].update({"policy.json": record}))
    refused(folder, "no hash of policy.json")


def test_no_folder_and_no_bundle_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "not a folder")
    refused(tmp_path, "no manifest.json")


@pytest.mark.parametrize("policy", [b"[]", b"{", b'{"slope": 1}', b'{"slope": [], "intercept": 0}'])
def test_a_policy_without_its_numbers_is_refused(tmp_path: Path, policy: bytes) -> None:
    bundle = write_bundle(tmp_path / "model", {**FILES, "policy.json": policy}, CONTENT)
    with pytest.raises(BundleError, match="not a policy"):
        bundle.policy()


def test_writing_never_destroys_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for replace in (False, True):
        with pytest.raises(BundleError, match="exists"):
            write_bundle(tmp_path / "mine", FILES, CONTENT, replace=replace)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_replacing_a_bundle_leaves_nothing_of_the_old_one(folder: Path) -> None:
    (folder / "compiled").mkdir()
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(folder, FILES, CONTENT)
    write_bundle(folder, FILES, {**CONTENT, "seed": 3}, replace=True)
    assert Bundle.load(folder).content["seed"] == 3
    assert not (folder / "compiled").exists()


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="outside the bundle"):
        write_bundle(tmp_path / "model", {**FILES, "../x": b""}, CONTENT)
    assert list(tmp_path.iterdir()) == []
