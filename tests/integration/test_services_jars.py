"""The jars of Kafka: exact coordinates, verified bytes, and what is said when no tool can fetch them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudengine import services
from fraudengine.errors import ServiceError
from fraudengine.services import jars


def test_every_jar_has_an_exact_version_and_a_hash() -> None:
    locked = jars.locked_jars()
    assert len({jar.name for jar in locked}) == len(locked) == 45
    assert all(len(jar.sha256) == 64 and jar.version[0].isdigit() for jar in locked)


def test_a_damaged_jar_is_fetched_again_and_a_wrong_one_refused(
    stack: services.Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stack  # It has fetched the jars.
    kept = jars.cache_folder() / "kafka"
    jar = next(jar for jar in jars.locked_jars() if jar.artifact == "jspecify")
    monkeypatch.setattr(jars, "locked_jars", lambda _: [jar])
    (tmp_path / jar.name).write_bytes((kept / jar.name).read_bytes()[:100])
    said: list[str] = []

    def other_bytes(_jars: object, scratch: Path) -> list[Path]:
        (scratch / "other.jar").write_bytes(b"other")
        return [scratch / "other.jar"]

    def right_bytes(_jars: object, scratch: Path) -> list[Path]:
        (scratch / "right.jar").write_bytes((kept / jar.name).read_bytes())
        return [scratch / "right.jar"]

    monkeypatch.setattr(jars, "_with_jgo", other_bytes)
    with pytest.raises(ServiceError, match=f"{jar.artifact}:{jar.version} has another SHA-256"):
        jars.fetched(said.append, cache=tmp_path)
    assert said
    monkeypatch.setattr(jars, "_with_jgo", right_bytes)
    assert jars.fetched(said.append, cache=tmp_path) == [tmp_path / jar.name]
    assert jar.right(tmp_path / jar.name)
    said.clear()
    assert jars.fetched(said.append, cache=tmp_path) == [tmp_path / jar.name]
    assert said == []


def test_without_tools_the_missing_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceError, match=r"jgo is not installed .*; mvn is not on PATH"):
        jars.fetched(lambda _: None, cache=tmp_path)
