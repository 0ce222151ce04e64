"""The Open Inference Protocol over gRPC: messages <-> values. Pure.

Inputs come typed or as bytes, all in the same way; outputs always go out as bytes, as OpenVINO
Model Server sends them.
"""

import re
from typing import Any

import numpy as np

from motorpool.modelserver.errors import (
    NOT_AN_ARRAY,
    UNSUPPORTED_PRECISION,
    InvalidInput,
)
from motorpool.modelserver.protocols.messages import message
from motorpool.modelserver.protocols.v2 import PROBABILITIES, blob_of, framed
from motorpool.modelserver.tensors import (
    BYTES,
    DTYPES,
    Array,
    InferRequest,
    InputTensor,
    ModelSpec,
    Raw,
    Strings,
    TensorSpec,
    Values,
)

SERVICE = "inference.GRPCInferenceService"

ServerLiveResponse = message("inference.ServerLiveResponse")
ServerReadyResponse = message("inference.ServerReadyResponse")
ModelReadyResponse = message("inference.ModelReadyResponse")
ServerMetadataResponse = message("inference.ServerMetadataResponse")
ModelMetadataResponse = message("inference.ModelMetadataResponse")
ModelInferResponse = message("inference.ModelInferResponse")
ModelStreamInferResponse = message("inference.ModelStreamInferResponse")

MIXED = "Invalid message structure - contents and raw_input_contents exclude each other"

# Which of the typed contents a datatype comes in. FP16 and BF16 have none.
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def version_number(text: str) -> int | None:
    """The version that a request names; None for the default. Raises InvalidInput."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidInput("Invalid model version format", text[:100])
    return int(text) or None


def decode_request(request: Any) -> InferRequest:
    """Raises InvalidInput."""
    if not request.inputs:
        raise InvalidInput("Invalid number of inputs", "there are none")
    raw = request.raw_input_contents
    if not raw:
        inputs = [_typed(tensor) for tensor in request.inputs]
    elif len(raw) != len(request.inputs):
        raise InvalidInput(
            "Invalid message structure",
            f"{len(request.inputs)} inputs with {len(raw)} raw_input_contents",
        )
    else:
        inputs = [_raw(tensor, raw[index]) for index, tensor in enumerate(request.inputs)]
    parameters = request.parameters
    probabilities = PROBABILITIES in parameters and parameters[PROBABILITIES].bool_param
    return InferRequest(inputs=inputs, id=request.id or None, probabilities=probabilities)


def encode_response(
    name: str, version: int, identity: str, outputs: list[tuple[TensorSpec, Array]]
) -> Any:
    response = ModelInferResponse(model_name=name, model_version=str(version), id=identity)
    for spec, array in outputs:
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        response.raw_output_contents.append(blob_of(array))
    return response


def encode_metadata(name: str, versions: list[int], spec: ModelSpec) -> Any:
    response = ModelMetadataResponse(
        name=name, versions=[str(version) for version in versions], platform="OpenVINO"
    )
    for tensors, listed in ((spec.inputs, response.inputs), (spec.outputs, response.outputs)):
        for each in tensors:
            listed.add(name=each.name, datatype=each.datatype, shape=each.wire_shape)
    return response


def _shape(tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    if any(size < 0 for size in shape):
        raise InvalidInput(
            "Invalid input shape", f"negative dimension in {shape}; input name: {tensor.name}"
        )
    return shape


def _raw(tensor: Any, content: bytes) -> InputTensor:
    if tensor.HasField("contents"):
        raise InvalidInput(MIXED)
    if tensor.datatype not in DTYPES and tensor.datatype != BYTES:
        raise InvalidInput(UNSUPPORTED_PRECISION)
    view = memoryview(content)
    values = framed(view) if tensor.datatype == BYTES else Raw(view)
    return InputTensor(tensor.name, tensor.datatype, _shape(tensor), values)


def _typed(tensor: Any) -> InputTensor:
    field = FIELDS.get(tensor.datatype)
    if field is None:
        raise InvalidInput(UNSUPPORTED_PRECISION, "such a tensor comes in raw_input_contents")
    content = getattr(tensor.contents, field)
    values = Strings(list(content)) if field == "bytes_contents" else _values(content, tensor)
    return InputTensor(tensor.name, tensor.datatype, _shape(tensor), values)


def _values(content: Any, tensor: Any) -> Values:
    dtype = DTYPES[tensor.datatype]
    try:
        # From a list, because numpy then refuses what does not fit.
        return Values(np.array(list(content), dtype=dtype))
    except OverflowError:
        raise InvalidInput(NOT_AN_ARRAY, f"input name: {tensor.name}") from None
