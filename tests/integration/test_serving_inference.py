"""The Open Inference Protocol beside the scoring service: the engine's scores, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scoring_server import TIMEOUT_SECONDS, details, running
from small_bundle import scoring_bundle
from small_history import small_history

from fraudengine import features
from fraudengine.bundle import Bundle
from fraudengine.wire import inference_pb2 as wire

PATH = "/inference.GRPCInferenceService/"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def channel(bundle: Path) -> Iterator[grpc.Channel]:
    with running(bundle, {"serve.inference": True}) as server, grpc.insecure_channel(server.address) as made:
        yield made


def ask(channel: grpc.Channel, method: str, request: Any) -> Any:
    """Return the answer to the request of a method, parsed."""
    answer = channel.unary_unary(PATH + method)(request.SerializeToString(), timeout=TIMEOUT_SECONDS)
    return getattr(wire, f"{method}Response").FromString(answer)


def infer(rows: npt.NDArray[np.float32], *, raw: bool, **fields: Any) -> wire.ModelInferRequest:
    """Return a request about feature vectors."""
    made = wire.ModelInferRequest(model_name="fraudengine", **fields)
    told = made.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    if raw:
        made.raw_input_contents.append(rows.astype("<f4").tobytes())
    else:
        told.contents.fp32_contents.extend(rows.ravel().tolist())
    return made


@pytest.mark.parametrize("raw", [True, False])
def test_scores_are_the_engine_s_bit_for_bit(raw: bool, bundle: Path, channel: grpc.Channel) -> None:
    expected = Bundle.load(bundle).engine().process(small_history(labels=False).head(3_000), features=True)
    assert expected.features is not None
    first = expected.flags == 0
    answer = ask(channel, "ModelInfer", infer(expected.features[first], raw=raw, id="r1"))
    assert (answer.id, answer.model_name) == ("r1", "fraudengine")
    assert [each.name for each in answer.outputs] == ["score", "action", "anomaly"]
    if raw:
        score, action, anomaly = (
            np.frombuffer(each, dtype)
            for each, dtype in zip(answer.raw_output_contents, ("<f4", "u1", "<f4"), strict=True)
        )
    else:
        contents = [each.contents for each in answer.outputs]
        score = np.array(contents[0].fp32_contents, np.float32)
        action = np.array(contents[1].uint_contents, np.uint8)
        anomaly = np.array(contents[2].fp32_contents, np.float32)
    assert score.tobytes() == expected.score[first].tobytes()
    assert action.tobytes() == expected.action[first].tobytes()
    assert anomaly.tobytes() == expected.anomaly[first].tobytes()


def test_health_and_metadata(bundle: Path, channel: grpc.Channel) -> None:
    version = Bundle.load(bundle).hash[:16]
    assert ask(channel, "ServerLive", wire.ServerLiveRequest()).live
    assert ask(channel, "ServerReady", wire.ServerReadyRequest()).ready
    assert ask(channel, "ServerMetadata", wire.ServerMetadataRequest()).name == "fraudengine"
    for name, asked, ready in (("fraudengine", version, True), ("fraudengine", "1", False), ("m", "", False)):
        request = wire.ModelReadyRequest(name=name, version=asked)
        assert ask(channel, "ModelReady", request).ready == ready
    told = ask(channel, "ModelMetadata", wire.ModelMetadataRequest(name="fraudengine"))
    assert list(told.versions) == [version]
    width = len(features.names())
    assert [(each.name, each.datatype, list(each.shape)) for each in (*told.inputs, *told.outputs)] == [
        ("features", "FP32", [-1, width]),
        ("score", "FP32", [-1]),
        ("action", "UINT8", [-1]),
        ("anomaly", "FP32", [-1]),
    ]
    health = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
    assert health.Check(asked, timeout=TIMEOUT_SECONDS).status == health_pb2.HealthCheckResponse.SERVING


def test_wanted_outputs_come_in_their_order(channel: grpc.Channel) -> None:
    rows = np.full((2, len(features.names())), np.nan, np.float32)
    request = infer(rows, raw=True, outputs=[{"name": "anomaly"}, {"name": "score"}])
    request.parameters["catalogue_hash"].string_param = features.catalogue_hash()
    answer = ask(channel, "ModelInfer", request)
    assert [(each.name, list(each.shape)) for each in answer.outputs] == [("anomaly", [2]), ("score", [2])]
    assert [len(each) for each in answer.raw_output_contents] == [8, 8]


WIDTH = len(features.names())
ROW = np.zeros((1, WIDTH), np.float32)


def changed(**fields: Any) -> wire.ModelInferRequest:
    """Return a good request with other fields of its input."""
    request = infer(ROW, raw=True)
    for name, value in fields.items():
        if name == "shape":
            del request.inputs[0].shape[:]
            request.inputs[0].shape.extend(value)
        else:
            setattr(request.inputs[0], name, value)
    return request


def with_both() -> wire.ModelInferRequest:
    request = infer(ROW, raw=True)
    request.inputs[0].contents.fp32_contents.append(1.0)
    return request


def of_other_type() -> wire.ModelInferRequest:
    request = infer(ROW, raw=False)
    request.inputs[0].contents.ClearField("fp32_contents")
    request.inputs[0].contents.fp64_contents.extend([0.0] * WIDTH)
    return request


@pytest.mark.parametrize(
    ("request_", "field", "told"),
    [
        (changed(name="rows"), "inputs", "inputs has 1 tensors ('rows'), must have one, 'features'"),
        (wire.ModelInferRequest(model_name="fraudengine"), "inputs", "inputs has 0 tensors"),
        (changed(datatype="FP64"), "inputs[0].datatype", "features has type 'FP64', must be FP32"),
        (
            changed(shape=[1, WIDTH - 1]),
            "inputs[0].shape",
            f"has shape [1, {WIDTH - 1}], must be [n, {WIDTH}]",
        ),
        (changed(shape=[WIDTH]), "inputs[0].shape", f"has shape [{WIDTH}]"),
        (changed(shape=[-1, WIDTH]), "inputs[0].shape", f"has shape [-1, {WIDTH}]"),
        (changed(shape=[0, WIDTH]), "inputs[0].shape", f"has shape [0, {WIDTH}]"),
        (changed(shape=[4_097, WIDTH]), "inputs[0].shape", "n from 1 to 4096"),
        (changed(shape=[2**62, WIDTH]), "inputs[0].shape", "n from 1 to 4096"),
        (changed(shape=[2, WIDTH]), "raw_input_contents", f"bytes, must be [{8 * WIDTH}]"),
        (with_both(), "inputs[0].contents", "features has both raw and typed contents"),
        (
            of_other_type(),
            "inputs[0].contents",
            f"{{'fp64_contents': {WIDTH}}}, must have {WIDTH} fp32_contents",
        ),
        (infer(ROW, raw=True, outputs=[{"name": "reasons"}]), "outputs[0].name", "no output 'reasons'"),
        (infer(ROW, raw=True, outputs=[{"name": "score"}] * 4), "outputs", "outputs has 4 tensors"),
        (infer(ROW, raw=True, id="i" * 129), "id", "id has more than 128 bytes"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_with_its_shape(
    request_: wire.ModelInferRequest, field: str, told: str, channel: grpc.Channel
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "ModelInfer", request_)
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert told in error.details()
    named = BadRequest.FromString(details(error)["BadRequest"]).field_violations
    assert [each.field for each in named] == [field]


def test_other_models_and_catalogues_are_refused(channel: grpc.Channel) -> None:
    other, old = infer(ROW, raw=True), infer(ROW, raw=True, model_version="1")
    other.model_name = "resnet"
    elsewhere = infer(ROW, raw=True)
    elsewhere.parameters["catalogue_hash"].string_param = "0"
    codes = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
    for request, code in zip((other, old, elsewhere), codes, strict=True):
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel, "ModelInfer", request)
        assert caught.value.code() is code
