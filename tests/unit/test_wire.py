"""The committed messages of `fraudengine.wire` are those of the definition."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")

from generated_wire import ROOT, generate


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    committed = (ROOT / "python/fraudengine/wire").glob("*_pb2.py*")
    assert made == {path.name: path.read_text("utf-8") for path in committed}
