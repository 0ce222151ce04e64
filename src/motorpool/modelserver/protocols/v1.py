"""The V1 protocol of TensorFlow Serving and KServe: `:predict` of rows or of columns.

Pure. `{"instances": [...]}` has an entry for each row and is answered by `{"predictions": [...]}`;
`{"inputs": ...}` has whole tensors and is answered by `{"outputs": ...}`. A tensor stands bare
where the model has only one, else as an object by name; bytes come as `{"b64": "..."}`. The model's
own specification says what type the numbers have.
"""

import base64
import binascii
from enum import Enum
from typing import Any

import msgspec

from motorpool.modelserver.errors import NOT_AN_ARRAY, InvalidInput, MalformedJson
from motorpool.modelserver.protocols import v2
from motorpool.modelserver.tensors import (
    BYTES,
    Array,
    InferRequest,
    InputTensor,
    ModelSpec,
    Strings,
    TensorSpec,
    widened,
)

B64 = "b64"


class Form(Enum):
    ROWS = "predictions"
    COLUMNS = "outputs"


def decode_predict(body: bytes, spec: ModelSpec) -> tuple[InferRequest, Form]:
    """Raises InvalidInput."""
    document = _document(body)
    if "instances" in document:
        if "inputs" in document:
            raise InvalidInput("Invalid JSON structure, both instances and inputs are present")
        instances = document["instances"]
        if not isinstance(instances, list) or not instances:
            raise InvalidInput("Expected instances to be a list")
        return _request(_rows(instances, spec), document), Form.ROWS
    if "inputs" not in document:
        raise InvalidInput("Invalid JSON structure, expected instances or inputs")
    # KServe's servers of tables take "inputs" for another word for "instances".
    form = Form.ROWS if spec.rows else Form.COLUMNS
    return _request(_columns(document["inputs"], spec), document), form


def _request(inputs: list[InputTensor], document: dict[str, Any]) -> InferRequest:
    return InferRequest(inputs, probabilities=v2.wants_probabilities(document))


def encode_predict(
    form: Form, outputs: list[tuple[TensorSpec, Array]], *, named: bool = False
) -> bytes:
    """Raises InvalidInput where rows are asked for and the outputs have no batch in common."""
    listed = {spec.name: _listed(widened(array, spec.datatype)) for spec, array in outputs}
    if len(listed) == 1 and not named:
        (only,) = listed.values()
        return msgspec.json.encode({form.value: only})
    if form is Form.COLUMNS:
        return msgspec.json.encode({form.value: listed})
    if len({len(rows) if isinstance(rows, list) else None for rows in listed.values()}) != 1:
        raise InvalidInput("The outputs have no common batch size", "ask with inputs instead")
    rows = [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
    return msgspec.json.encode({form.value: rows})


def encode_status(name: str) -> bytes:
    """What KServe's own servers say of a model that is ready."""
    return msgspec.json.encode({"name": name, "ready": True})


def encode_alive() -> bytes:
    return msgspec.json.encode({"status": "alive"})


def encode_models(names: list[str]) -> bytes:
    return msgspec.json.encode({"models": names})


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson("The file is not valid json", str(error)) from None
    except RecursionError:
        raise MalformedJson("The file is not valid json", "it is nested too deeply") from None
    if not isinstance(document, dict):
        raise InvalidInput("Request body should be JSON object")
    return document


def _rows(instances: list[Any], spec: ModelSpec) -> list[InputTensor]:
    """The tensors whose first dimension counts the instances."""
    if not _is_named(instances[0]):
        return [_tensor(instances, _only(spec), mixed=spec.rows)]
    names = list(instances[0])
    if not all(_is_named(each) and each.keys() == instances[0].keys() for each in instances):
        raise InvalidInput("Instances must have the same names")
    columns = ([each[name] for each in instances] for name in names)
    return [
        _tensor(column, _named(name, spec), mixed=spec.rows)
        for name, column in zip(names, columns, strict=True)
    ]


def _columns(inputs: Any, spec: ModelSpec) -> list[InputTensor]:
    if _is_named(inputs):
        return [_tensor(data, _named(name, spec)) for name, data in inputs.items()]
    return [_tensor(inputs, _only(spec))]


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {B64}


def _only(spec: ModelSpec) -> TensorSpec:
    if len(spec.inputs) != 1:
        raise InvalidInput(
            "Invalid number of inputs", f"Expected: {len(spec.inputs)} by name; Actual: 1"
        )
    return spec.inputs[0]


def _named(name: str, spec: ModelSpec) -> TensorSpec:
    for each in spec.inputs:
        if each.name == name:
            return each
    # Whoever takes tensors by name says what is missing; until then its type does not matter.
    return TensorSpec(name, spec.inputs[0].datatype if spec.inputs else BYTES, ())


def _tensor(data: Any, spec: TensorSpec, *, mixed: bool = False) -> InputTensor:
    """*mixed*: where words are taken, numbers and null may stand among them."""
    shape, leaves = _leaves(data)
    if mixed and spec.datatype == BYTES:
        leaves = [_word(each) for each in leaves]
    if leaves and isinstance(leaves[0], (str, dict)):
        return InputTensor(spec.name, BYTES, shape, Strings([_bytes(each) for each in leaves]))
    return InputTensor(spec.name, spec.datatype, shape, v2.values_of(leaves, spec.datatype))


def _leaves(data: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists, and what they hold, row by row."""
    shape: list[int] = []
    level = [data]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if not all(isinstance(each, list) and len(each) == size for each in level):
            raise InvalidInput(NOT_AN_ARRAY)
        shape.append(size)
        level = [each for rows in level for each in rows]
    return tuple(shape), level


def _word(value: Any) -> Any:
    if value is None:
        return ""
    return msgspec.json.encode(value).decode() if isinstance(value, int | float) else value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, dict) or not isinstance(value.get(B64), str):
        raise InvalidInput(NOT_AN_ARRAY)
    try:
        return base64.b64decode(value[B64], validate=True)
    except binascii.Error:
        raise InvalidInput(NOT_AN_ARRAY, "b64 is no base64") from None


def _listed(array: Array) -> Any:
    if array.dtype != object:
        return array.tolist()
    texts = [_text(each) for each in array.ravel()]
    return texts if array.ndim == 1 else _nested(texts, array.shape)


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {B64: base64.b64encode(value).decode()}


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    for size in reversed(shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)] if size else []
    return flat
