"""Tensors of the Open Inference Protocol: from a request to feature vectors, from predictions to an answer.

A tensor that does not fit is refused with its name, its shape and what it must be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fraudengine import _native
from fraudengine.wire.inference_pb2 import ModelMetadataResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fraudengine.wire.inference_pb2 import ModelInferRequest, ModelInferResponse

__all__ = ["INPUT", "OUTPUTS", "ROWS_MAX", "Tensor", "TensorError", "answer_of", "features_of", "metadata_of"]

ROWS_MAX = 4_096
"""Most feature vectors of one request."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of the model.

    Attributes
    ----------
    name
        As clients call it.
    datatype
        As the protocol calls the type of its elements.
    contents
        Field of `InferTensorContents` that holds such elements.
    dtype
        The same type in numpy, little-endian.
    shape
        Length of each dimension; -1: one for each feature vector.

    """

    name: str
    datatype: str
    contents: str
    dtype: str
    shape: tuple[int, ...]


INPUT = Tensor("features", "FP32", "fp32_contents", "<f4", (-1, len(_native.catalogue_features())))
OUTPUTS = (
    Tensor("score", "FP32", "fp32_contents", "<f4", (-1,)),
    Tensor("action", "UINT8", "uint_contents", "<u1", (-1,)),
    Tensor("anomaly", "FP32", "fp32_contents", "<f4", (-1,)),
)
"""In the order of `Predictor.predict`."""

Predicted = tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint8]", "npt.NDArray[np.float32]"]


class TensorError(Exception):
    """A tensor that does not fit.

    Attributes
    ----------
    field
        Place in the request, for example `inputs[0].shape`.
    message
        One line for people.

    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def metadata_of(tensor: Tensor) -> ModelMetadataResponse.TensorMetadata:
    """Return what `ModelMetadata` says about a tensor."""
    return ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape)
    )


def features_of(request: ModelInferRequest) -> npt.NDArray[np.float32]:
    """Return the feature vectors of a request: float32, shape (n, features), n from 1 to `ROWS_MAX`.

    Raises
    ------
    TensorError
        Inputs, shape, contents or wanted outputs are not those of the model.

    """
    columns = INPUT.shape[1]
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT.name:
        names = ", ".join(repr(each.name[:64]) for each in request.inputs[:3])
        given = f"{len(request.inputs)} tensors{f' ({names})' if names else ''}"
        raise TensorError("inputs", f"inputs has {given}, must have one, {INPUT.name!r}")
    told = request.inputs[0]
    if told.datatype != INPUT.datatype:
        message = f"{INPUT.name} has type {told.datatype[:64]!r}, must be {INPUT.datatype}"
        raise TensorError("inputs[0].datatype", message)
    shape = list(told.shape[:8])
    if len(shape) != 2 or shape[1] != columns or not 1 <= shape[0] <= ROWS_MAX:
        message = f"{INPUT.name} has shape {shape}, must be [n, {columns}] with n from 1 to {ROWS_MAX}"
        raise TensorError("inputs[0].shape", message)
    for at, wanted in enumerate(request.outputs):
        if wanted.name not in {tensor.name for tensor in OUTPUTS}:
            raise TensorError(f"outputs[{at}].name", f"there is no output {wanted.name[:64]!r}")
    if len(request.outputs) > len(OUTPUTS):
        raise TensorError("outputs", f"outputs has {len(request.outputs)} tensors, there are {len(OUTPUTS)}")
    return _values(request, shape).reshape(shape)


def _values(request: ModelInferRequest, shape: list[int]) -> npt.NDArray[np.float32]:
    contents = request.inputs[0].contents
    filled = {field.name: len(value) for field, value in contents.ListFields()}
    count = math.prod(shape)
    if request.raw_input_contents:
        if filled:
            raise TensorError("inputs[0].contents", f"{INPUT.name} has both raw and typed contents")
        sizes = [len(each) for each in request.raw_input_contents[:4]]
        if sizes != [count * 4] or len(request.raw_input_contents) != 1:
            message = (
                f"{INPUT.name} of shape {shape} has raw contents of {sizes} bytes, must be {[count * 4]}"
            )
            raise TensorError("raw_input_contents", message)
        return np.frombuffer(request.raw_input_contents[0], INPUT.dtype)
    if filled != {INPUT.contents: count}:
        message = f"{INPUT.name} of shape {shape} has contents {filled}, must have {count} {INPUT.contents}"
        raise TensorError("inputs[0].contents", message)
    return np.array(contents.fp32_contents, INPUT.dtype)


def answer_of(
    predicted: Predicted, wanted: Sequence[str], response: ModelInferResponse, *, raw: bool
) -> None:
    """Add the wanted outputs (none named: all) to the answer, as bytes or in the lists of their types."""
    by_name = {tensor.name: at for at, tensor in enumerate(OUTPUTS)}
    for name in wanted or by_name:
        tensor, values = OUTPUTS[by_name[name]], predicted[by_name[name]]
        out = response.outputs.add(name=name, datatype=tensor.datatype, shape=[len(values)])
        if raw:
            response.raw_output_contents.append(values.astype(tensor.dtype, copy=False).tobytes())
        else:
            getattr(out.contents, tensor.contents).extend(values.tolist())
