"""TensorFlow Serving over gRPC: messages <-> values. Pure."""

from typing import Any

import numpy as np

from motorpool.modelserver.errors import NOT_AN_ARRAY, UNSUPPORTED_PRECISION, InvalidInput
from motorpool.modelserver.protocols.messages import message
from motorpool.modelserver.protocols.tfs import DATA_TYPES, METHOD, SIGNATURE, VersionStatus
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

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

PredictResponse = message("tensorflow.serving.PredictResponse")
GetModelMetadataResponse = message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusResponse = message("tensorflow.serving.GetModelStatusResponse")
SignatureDefMap = message("tensorflow.serving.SignatureDefMap")

_NUMBERS = dict(
    message("tensorflow.TensorProto").DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_name
)
NUMBER_OF = {name: _NUMBERS[kind].number for name, kind in DATA_TYPES.items()}
NAME_OF = {number: name for name, number in NUMBER_OF.items()}

# Which of the typed lists a datatype comes in.
FIELDS = {
    "FP32": "float_val",
    "FP64": "double_val",
    "INT8": "int_val",
    "INT16": "int_val",
    "INT32": "int_val",
    "UINT8": "int_val",
    "UINT16": "int_val",
    "INT64": "int64_val",
    "BOOL": "bool_val",
    "UINT32": "uint32_val",
    "UINT64": "uint64_val",
}


def version_number(spec: Any) -> int | None:
    """The version that a ModelSpec names; a label names none, as in OpenVINO Model Server."""
    if not spec.HasField("version"):
        return None
    if spec.version.value < 0:
        raise InvalidInput("Invalid model version format", str(spec.version.value))
    return int(spec.version.value) or None


def decode_predict(request: Any) -> InferRequest:
    """Raises InvalidInput."""
    return InferRequest(inputs=[_tensor(name, each) for name, each in request.inputs.items()])


def encode_predict(name: str, version: int, outputs: list[tuple[TensorSpec, Array]]) -> Any:
    response = PredictResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    for spec, array in outputs:
        tensor = response.outputs[spec.name]
        tensor.dtype = NUMBER_OF[spec.datatype]
        _set_shape(tensor.tensor_shape, array.shape)
        if array.dtype == object:
            tensor.string_val.extend(array.ravel().tolist())
        else:
            tensor.tensor_content = array.tobytes()
    return response


def encode_metadata(name: str, version: int, spec: ModelSpec) -> Any:
    signatures = SignatureDefMap()
    signature = signatures.signature_def[SIGNATURE]
    signature.method_name = METHOD
    for tensors, infos in ((spec.inputs, signature.inputs), (spec.outputs, signature.outputs)):
        for each in tensors:
            info = infos[each.name]
            info.name = each.name
            info.dtype = NUMBER_OF.get(each.datatype, 0)
            _set_shape(info.tensor_shape, each.wire_shape)
    response = GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    response.metadata["signature_def"].Pack(signatures)
    return response


def encode_status(versions: list[VersionStatus]) -> Any:
    response = GetModelStatusResponse()
    for each in versions:
        one = response.model_version_status.add(version=each.number, state=each.state)
        one.status.error_code = each.code
        one.status.error_message = "OK" if each.code == 0 else "UNKNOWN"
    return response


def _set_shape(shape: Any, sizes: Any) -> None:
    for size in sizes:
        shape.dim.add(size=size)
    shape.SetInParent()


def _tensor(name: str, tensor: Any) -> InputTensor:
    datatype = NAME_OF.get(tensor.dtype)
    if datatype is None:
        raise InvalidInput(UNSUPPORTED_PRECISION, f"input name: {name}")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise InvalidInput("Invalid input shape", f"negative dimension; input name: {name}")
    if datatype == BYTES:
        return InputTensor(name, BYTES, shape, Strings(list(tensor.string_val)))
    if tensor.tensor_content:
        return InputTensor(name, datatype, shape, Raw(memoryview(tensor.tensor_content)))
    return InputTensor(name, datatype, shape, Values(_values(name, datatype, tensor)))


def _values(name: str, datatype: str, tensor: Any) -> Array:
    if datatype in ("FP16", "BF16"):
        # The bits of each, in a number of its own.
        bits = list(tensor.half_val)
        if any(not 0 <= value < 2**16 for value in bits):
            raise InvalidInput(NOT_AN_ARRAY, f"input name: {name}")
        return np.array(bits, dtype=np.uint16).view(DTYPES[datatype])
    try:
        return np.array(list(getattr(tensor, FIELDS[datatype])), dtype=DTYPES[datatype])
    except OverflowError:
        raise InvalidInput(NOT_AN_ARRAY, f"input name: {name}") from None
