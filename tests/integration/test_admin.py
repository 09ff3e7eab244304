"""The admin service: who may call it, and what it does with the process and with the stream."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc.error_details_pb2 import ErrorInfo
from live_service import ask, invalid_field, refused
from scoring_server import call, details, running
from service_stack import Fresh
from small_bundle import small_bundle
from small_history import small_history
from stream_topics import new_topics

from fraudengine.bundle import Bundle
from fraudengine.engine import Engine
from fraudengine.errors import ConfigError
from fraudengine.training import BoosterOptions, ForestOptions
from fraudengine.wire import admin_pb2, inference_pb2
from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction

TOKEN = "let me in"
METADATA = (("authorization", f"Bearer {TOKEN}"),)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    forest = ForestOptions(trees=5, rows_per_tree=32)
    return [
        small_bundle(small_history(), folder / f"model{trees}", BoosterOptions(trees=trees, depth=3), forest)
        for trees in (5, 6)
    ]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "admin.toml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    file.write_text(f'[ops]\nsha256 = "{digest}"\ncalls_per_second = 100\n')
    return file


def settings_of(tokens: Path, tmp_path: Path) -> dict[str, object]:
    return {"serve.admin_port": 0, "serve.admin_tokens": str(tokens), "state.folder": str(tmp_path / "state")}


def scored(channel: grpc.Channel, name: str) -> Any:
    asked = Transaction(
        transaction_id=name, event_time_micros=time.time_ns() // 1_000, customer_id="c1", amount_minor=5
    )
    answer = call(channel, "Score", ScoreRequest(transaction=asked).SerializeToString())
    return ScoreResponse.FromString(answer).decision


def test_the_model_is_exchanged_and_taken_back(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    first, second = (Bundle.load(path) for path in bundles)
    with (
        running(bundles[0], settings_of(tokens, tmp_path)) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.admin_address) as admin,
    ):
        told = ask(admin, "AdminService/GetModel", metadata=METADATA)
        assert (told.active.hash, told.HasField("previous")) == (first.hash, False)
        error = refused(admin, "AdminService/RollBackModel", metadata=METADATA)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        asked = {"path": str(second.path), "hash": second.hash.upper()}
        assert ask(admin, "AdminService/ActivateModel", metadata=METADATA, **asked).active.hash == second.hash
        assert scored(channel, "by-second").model == int(second.hash[:16], 16)
        told = ask(admin, "AdminService/GetModel", metadata=METADATA)
        assert (told.active.hash, told.previous.hash) == (second.hash, first.hash)
        for wrong in ({**asked, "hash": first.hash}, {"path": str(tmp_path / "nowhere")}):
            error = refused(admin, "AdminService/ActivateModel", metadata=METADATA, **wrong)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert ErrorInfo.FromString(details(error)["ErrorInfo"]).reason == "REFUSED"
        assert ask(admin, "AdminService/RollBackModel", metadata=METADATA).active.hash == first.hash
        assert scored(channel, "by-first").model == int(first.hash[:16], 16)


def test_the_choice_of_a_model_outlives_a_restart(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    first, second = (Bundle.load(path) for path in bundles)
    settings = {**settings_of(tokens, tmp_path), "serve.state_folder": str(tmp_path / "own")}

    def models(given: Path | None, **asked: str) -> tuple[str, str]:
        """Start with a bundle, ask for another one, and tell who decides and who did before."""
        with (
            running(given, settings) as server,
            grpc.insecure_channel(server.address) as channel,
            grpc.insecure_channel(server.admin_address) as admin,
        ):
            if asked:
                ask(admin, "AdminService/ActivateModel", metadata=METADATA, **asked)
            told = ask(admin, "AdminService/GetModel", metadata=METADATA)
            model = scored(channel, f"t{time.time_ns()}").model
            assert model == int(told.active.hash[:16], 16)
            return told.active.hash, told.previous.hash

    assert models(bundles[0], path=str(second.path)) == (second.hash, first.hash)
    assert models(bundles[0]) == (second.hash, first.hash)
    assert models(None) == (second.hash, first.hash)
    # Started with another bundle than before: somebody has decided anew.
    assert models(bundles[1]) == (second.hash, first.hash)
    assert models(bundles[0]) == (first.hash, second.hash)


def test_the_inference_service_follows(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    second = Bundle.load(bundles[1])
    with (
        running(bundles[0], {**settings_of(tokens, tmp_path), "serve.inference": True}) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.admin_address) as admin,
    ):
        ask(admin, "AdminService/ActivateModel", metadata=METADATA, path=str(second.path))
        metadata = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
        asked = inference_pb2.ModelMetadataRequest(name="fraudengine").SerializeToString()
        told = inference_pb2.ModelMetadataResponse.FromString(metadata(asked))
        assert list(told.versions) == [second.hash[:16]]


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "path", "MISSING"),
        ({"path": "model"}, "path", "RELATIVE"),
        ({"path": "/" + "x" * 4_096}, "path", "TOO_LONG"),
        ({"path": "/model", "hash": "12"}, "hash", "MALFORMED"),
        ({"path": "/model", "hash": "g" * 64}, "hash", "MALFORMED"),
    ],
)
def test_a_wrong_field_is_named(
    fields: dict[str, Any], field: str, reason: str, bundles: list[Path], tokens: Path, tmp_path: Path
) -> None:
    with (
        running(bundles[0], settings_of(tokens, tmp_path)) as server,
        grpc.insecure_channel(server.admin_address) as admin,
    ):
        error = refused(admin, "AdminService/ActivateModel", metadata=METADATA, **fields)
        assert invalid_field(error) == (field, reason)


def test_a_snapshot_holds_the_state(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    with (
        running(bundles[0], settings_of(tokens, tmp_path)) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.admin_address) as admin,
    ):
        for number in range(10):
            scored(channel, f"t{number}")
        told = ask(admin, "AdminService/TakeSnapshot", metadata=METADATA)
    data = Path(told.path).read_bytes()
    assert len(data) == told.bytes
    assert Engine.restore(data).stats()["transactions"] == 10


def test_the_stream_is_what_it_acts_on(
    bundles: list[Path], tokens: Path, fresh: Fresh, tmp_path: Path
) -> None:
    first, second = (Bundle.load(path) for path in bundles)
    topics = new_topics(fresh, tmp_path)
    with topics.stream(bundles[0]) as stream:
        topics.send(small_history(days=1, per_day=50, labels=False), labels=False)
        stream.await_decisions(50)
        settings = {**settings_of(tokens, tmp_path / "serve"), "serve.admin_stream": stream.client().url}
        with (
            running(bundles[0], settings) as server,
            grpc.insecure_channel(server.address) as channel,
            grpc.insecure_channel(server.admin_address) as admin,
        ):
            asked = {"path": str(second.path), "hash": second.hash}
            told = ask(admin, "AdminService/ActivateModel", metadata=METADATA, **asked)
            assert told.active.hash == stream.status()["bundle_hash"] == second.hash
            assert scored(channel, "followed").model == int(second.hash[:16], 16)
            told = ask(admin, "AdminService/GetModel", metadata=METADATA)
            assert (told.active.hash, told.previous.hash) == (second.hash, first.hash)
            wrong = {**asked, "hash": first.hash}
            error = refused(admin, "AdminService/ActivateModel", metadata=METADATA, **wrong)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert ask(admin, "AdminService/RollBackModel", metadata=METADATA).active.hash == first.hash
            before = stream.status()["snapshots"]
            told = ask(admin, "AdminService/TakeSnapshot", metadata=METADATA)
            assert (Path(told.path).parent, Path(told.path).stat().st_size) == (
                tmp_path / "state",
                told.bytes,
            )
            assert stream.status()["snapshots"] == before + 1
            assert Path(told.path).name.startswith(f"state-{50:020}-")
            assert stream.stop() == 0
            error = refused(admin, "AdminService/GetModel", metadata=METADATA)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert ErrorInfo.FromString(details(error)["ErrorInfo"]).reason == "STREAM_UNAVAILABLE"


def test_nobody_gets_in_without_credentials(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    methods = [method.name for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods]
    assert len(methods) == 5
    with (
        running(bundles[0], settings_of(tokens, tmp_path)) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.admin_address) as admin,
    ):
        for method in methods:
            for metadata in ((), (("authorization", "Bearer guess"),)):
                error = refused(admin, f"AdminService/{method}", metadata=metadata)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            error = refused(channel, f"AdminService/{method}", metadata=METADATA)
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert scored(channel, "goes-on").transaction_id == "goes-on"


def test_a_port_without_credentials_is_not_opened(bundles: list[Path], tmp_path: Path) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({}, r"serve\.admin_port is 0, which needs credentials"),
        (
            {"serve.admin_client_ca": str(tmp_path / "ca.pem")},
            r"admin_client_ca needs serve\.tls_certificate",
        ),
    ]
    for more, said in cases:
        with (
            pytest.raises(ConfigError, match=said),
            running(bundles[0], {"serve.admin_port": 0, **more}),
        ):
            pass
    with running(bundles[0]) as server:
        assert server.admin_address is None


def test_certificates_let_in(bundles: list[Path], tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    names = ("tls_certificate", "tls_key", "admin_client_ca")
    files = {name: tmp_path / f"{name}.pem" for name in names}
    files["tls_certificate"].write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    files["tls_key"].write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files["admin_client_ca"])
    root = files["admin_client_ca"].read_bytes()
    settings = {"serve.admin_port": 0, **{f"serve.{name}": str(path) for name, path in files.items()}}
    with running(bundles[0], settings) as server:
        operator = authority.issue_cert("ops@example.com")
        chain = operator.cert_chain_pems[0].bytes()
        known = grpc.ssl_channel_credentials(root, operator.private_key_pem.bytes(), chain)
        with grpc.secure_channel(server.admin_address, known) as admin:
            assert ask(admin, "AdminService/GetModel").active.hash == Bundle.load(bundles[0]).hash
        other = stranger.issue_cert("ops@example.com")
        unknown = grpc.ssl_channel_credentials(
            root, other.private_key_pem.bytes(), other.cert_chain_pems[0].bytes()
        )
        for credentials in (unknown, grpc.ssl_channel_credentials(root)):
            with grpc.secure_channel(server.admin_address, credentials) as admin:
                assert refused(admin, "AdminService/GetModel").code() is grpc.StatusCode.UNAVAILABLE


def test_the_process_drains_when_asked(bundles: list[Path], tokens: Path, tmp_path: Path) -> None:
    program = "import sys; from fraudengine.cli import main; main(sys.argv[1:])"
    wanted = {"serve.port": 0, "http.port": 0, **settings_of(tokens, tmp_path)}
    options = [part for name, value in wanted.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-c", program, "serve", str(bundles[0]), "--json", *options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            told = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
            with grpc.insecure_channel(told["admin"]) as admin:
                ask(admin, "AdminService/Drain", metadata=METADATA)
            _, said = process.communicate(timeout=30)
            assert (process.returncode, b"drained" in said) == (0, True)
        finally:
            process.kill()
