"""Clients that are not ours: grpcurl and ghz from PATH, NVIDIA's client in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_server import at, running
from small_bundle import scoring_bundle
from small_history import small_history

from fraudengine.bundle import Bundle
from fraudengine.serving import ScoringServer

ROOT = Path(__file__).resolve().parents[2]
TRITON = ("tritonclient[grpc]==2.73.0", "protobuf>=6,<7")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[ScoringServer]:
    with running(bundle, {"serve.inference": True, "serve.reflection": True}) as started:
        yield started


def run(*command: str, seconds: float = 60, status: int = 0) -> str:
    """Return what a program wrote."""
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert told.returncode == status, told.stdout + told.stderr
    return told.stdout + told.stderr


def found(name: str, module: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on PATH: go install {module}@latest")
    return path


def transaction(name: str, **fields: Any) -> dict[str, Any]:
    micros = str(int(time.time() * 1e6))
    return {
        "transaction_id": name,
        "event_time_micros": micros,
        "customer_id": name,
        "amount_minor": "1999",
        **fields,
    }


@pytest.fixture
def grpcurl() -> str:
    return found("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")


@pytest.fixture
def ghz() -> str:
    return found("ghz", "github.com/bojand/ghz/cmd/ghz")


def test_grpcurl_finds_the_way_by_reflection(grpcurl: str, server: ScoringServer) -> None:
    listed = run(grpcurl, "-plaintext", server.address, "list").split()
    assert {"fraudengine.v1.ScoringService", "inference.GRPCInferenceService"} <= set(listed)
    told = run(grpcurl, "-plaintext", server.address, "describe", "fraudengine.v1.Transaction.amount_minor")
    assert "optional int64 amount_minor" in told
    body = json.dumps({"transaction": transaction("curled", channel="CHANNEL_ECOMMERCE", country="DE")})
    method = "fraudengine.v1.ScoringService/Score"
    decision = json.loads(run(grpcurl, "-plaintext", "-d", body, server.address, method))["decision"]
    assert "curled" in decision.values()
    assert decision["action"] in ("ACTION_APPROVE", "ACTION_REVIEW", "ACTION_BLOCK")
    live = run(grpcurl, "-plaintext", server.address, "inference.GRPCInferenceService/ServerLive")
    assert json.loads(live) == {"live": True}


def test_grpcurl_shows_the_field_at_fault(grpcurl: str, server: ScoringServer) -> None:
    body = json.dumps({"transaction": transaction("wrong", merchant_category=10_000)})
    method = "fraudengine.v1.ScoringService/Score"
    # grpcurl exits with 64 and the code of the status.
    told = run(grpcurl, "-plaintext", "-d", body, server.address, method, status=64 + 3)
    assert "Code: InvalidArgument" in told
    assert "google.rpc.BadRequest" in told
    assert '"field": "merchant_category"' in told
    assert '"reason": "CATEGORY_OUT_OF_RANGE"' in told


def test_ghz_gets_an_answer_to_every_call(
    ghz: str, server: ScoringServer, transport: str, tmp_path: Path
) -> None:
    # Compiled, because the parser of ghz 0.93 takes no `optional`.
    protos = str(tmp_path / "scoring.protoset")
    compiled = f"--descriptor_set_out={protos}"
    options = ("-Iproto", "--include_imports", compiled, "fraudengine/v1/scoring.proto")
    run(sys.executable, "-m", "grpc_tools.protoc", *options)
    common = (ghz, "--insecure", "--protoset", protos)
    one = transaction(f"{transport}-{{{{.RequestNumber}}}}")
    asked: dict[str, tuple[Any, int]] = {
        "Score": ({"transaction": one}, 2_000),
        "ScoreBatch": ({"transactions": [one] * 64}, 100),
        "ScoreStream": ([{"transaction": one}] * 8, 50),
    }
    for method, (data, count) in asked.items():
        call = ("--call", f"fraudengine.v1.ScoringService/{method}", "-d", json.dumps(data))
        said = run(*common, *call, "-n", str(count), "-c", "8", "-O", "json", at(server, transport))
        report = json.loads(said)
        assert report["statusCodeDistribution"] == {"OK": count}, method


@pytest.fixture(scope="module")
def triton_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an interpreter that has NVIDIA's client: `FRAUDENGINE_TRITON_PYTHON`, or one made here."""
    if given := os.environ.get("FRAUDENGINE_TRITON_PYTHON"):
        return given
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("no uv to make an environment for tritonclient; set FRAUDENGINE_TRITON_PYTHON")
    folder = tmp_path_factory.mktemp("triton") / "venv"
    python = str(folder / "bin" / "python")
    for command in ([uv, "venv", "-q", str(folder)], [uv, "pip", "install", "-q", "-p", python, *TRITON]):
        made = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if made.returncode != 0:
            pytest.skip(f"tritonclient cannot be installed here: {made.stderr.strip()[-200:]}")
    return python


def test_the_client_of_triton_gets_the_engine_s_scores(
    triton_python: str, bundle: Path, server: ScoringServer, tmp_path: Path
) -> None:
    expected = Bundle.load(bundle).engine().process(small_history(labels=False).head(1_000), features=True)
    assert expected.features is not None
    first = expected.flags == 0
    rows, outputs = tmp_path / "rows.npy", tmp_path / "outputs.npz"
    np.save(rows, expected.features[first])
    program = str(ROOT / "tests" / "support" / "triton_program.py")
    said = json.loads(run(triton_python, "-I", program, server.address, str(rows), str(outputs)))
    answers = np.load(outputs)
    for name in ("score", "action", "anomaly"):
        wanted = getattr(expected, name)[first]
        assert (answers[name].dtype, answers[name].tobytes()) == (wanted.dtype, wanted.tobytes()), name
    assert (said["live"], said["ready"], said["model_ready"], said["other_ready"]) == (
        True,
        True,
        True,
        False,
    )
    assert said["model"]["versions"] == [Bundle.load(bundle).hash[:16]]
    assert (said["server"]["name"], said["id"], said["wanted"]) == ("fraudengine", "from triton", ["score"])
    status, message = said["refused"]
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "features has shape [1, 3], must be [n, " in message
