"""The Open Inference Protocol over REST, with its binary tensor extension.

Pure. A body is JSON, or JSON followed by the bytes of tensors; `Inference-Header-Content-Length`
then says where the JSON ends. Responses are laid out as OpenVINO Model Server prints them.
"""

import re
import struct
from itertools import chain
from math import prod
from typing import Any, TypeGuard

import msgspec
import numpy as np

from motorpool.modelserver.errors import (
    NOT_AN_ARRAY,
    UNSUPPORTED_PRECISION,
    InvalidInput,
    MalformedJson,
    UnusableContent,
)
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

# What the JSON form of each kind of number may hold; wider integers must come as bytes.
JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "f": {int, float}, "i": {int}, "u": {int}}
PROBABILITIES = "predict_proba"
SIGNED_JSON = (-(2**31), 2**31 - 1)
UNSIGNED_JSON = (0, 2**32 - 1)


def decode_request(body: bytes, json_length: str | None) -> InferRequest:
    """*json_length* is the header's text where the request has one. Raises InvalidInput."""
    end = len(body) if json_length is None else _json_end(json_length, len(body))
    document = _document(body if end == len(body) else memoryview(body)[:end])
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput("Invalid JSON structure, missing inputs")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise InvalidInput("Could not parse request id", "it should be a string")
    blobs = None if json_length is None else _Blobs(memoryview(body)[end:], len(inputs))
    return InferRequest(
        inputs=[_input(item, blobs) for item in inputs],
        id=identity,
        binary_outputs=_binary_outputs(document),
        probabilities=wants_probabilities(document),
    )


def wants_probabilities(document: dict[str, Any]) -> bool:
    """Raises InvalidInput where the parameters are none."""
    parameters = document.get("parameters")
    return parameters is not None and _parameters(parameters).get(PROBABILITIES) is True


def encode_response(
    name: str, version: int, request: InferRequest, outputs: list[tuple[TensorSpec, Array]]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where bytes of tensors follow it."""
    binary = request.binary_outputs
    blobs: list[bytes] = []
    parts: list[bytes] = []
    for spec, array in outputs:
        if spec.name in binary:
            blob = blob_of(array)
            blobs.append(blob)
            last = b'"parameters": {\n                "binary_data_size": %d\n            }' % len(
                blob
            )
        else:
            last = b'"data": ' + _line(_listed(array, spec))
        parts.append(
            b'{\n            "name": %b,\n            "shape": %b,\n            "datatype": "%b",\n'
            b"            %b\n        }"
            % (_text(spec.name), _line(list(array.shape)), spec.datatype.encode(), last)
        )
    identity = b"" if request.id is None else b'    "id": %b,\n' % _text(request.id)
    document = b'{\n    "model_name": %b,\n%b    "model_version": "%d",\n    "outputs": [%b]\n}' % (
        _text(name),
        identity,
        version,
        b", ".join(parts),
    )
    if not blobs:
        return document, None
    return b"".join((document, *blobs)), len(document)


def encode_metadata(name: str, versions: list[int], spec: ModelSpec) -> bytes:
    def listed(tensors: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [
            {"name": each.name, "datatype": each.datatype, "shape": each.wire_shape}
            for each in tensors
        ]

    return msgspec.json.encode(
        {
            "name": name,
            "versions": [str(version) for version in versions],
            "platform": "OpenVINO",
            "inputs": listed(spec.inputs),
            "outputs": listed(spec.outputs),
        }
    )


def encode_server_metadata(version: str) -> bytes:
    return msgspec.json.encode({"name": "OpenVINO Model Server", "version": version})


def encode_health(what: str) -> bytes:
    return msgspec.json.encode({what: True})


def framed(blob: memoryview) -> Strings:
    """The elements of a BYTES tensor, each of which comes after its size. Raises InvalidInput."""
    elements: list[bytes] = []
    position = 0
    while position < len(blob):
        if position + 4 > len(blob):
            raise InvalidInput(NOT_AN_ARRAY, "the size of a BYTES element is cut off")
        (size,) = struct.unpack_from("<I", blob, position)
        position += 4
        if position + size > len(blob):
            raise InvalidInput(NOT_AN_ARRAY, "a BYTES element is cut off")
        elements.append(bytes(blob[position : position + size]))
        position += size
    return Strings(elements)


def blob_of(array: Array) -> bytes:
    """A tensor as bytes: row by row, little-endian; strings after their sizes."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(each)) + each for each in array.ravel())
    return array.tobytes()


def encode_error(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


class _Blobs:
    """The bytes behind the JSON, handed out from the front."""

    def __init__(self, content: memoryview, inputs: int) -> None:
        self._rest = content
        self._inputs = inputs

    def take(self, size: int) -> memoryview:
        if size > len(self._rest):
            raise InvalidInput(
                "Received buffer size is smaller than binary_data_size parameter indicates"
            )
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def take_implicit(self, datatype: str, shape: tuple[int, ...]) -> memoryview:
        """What belongs to a tensor that does not say how many bytes it has."""
        if dtype := DTYPES.get(datatype):
            return self.take(prod(shape) * dtype.itemsize)
        if self._inputs == 1 and shape == (1,):
            return self.take(len(self._rest))
        raise InvalidInput(NOT_AN_ARRAY)


def _json_end(text: str, length: int) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise UnusableContent(
            "Inference-Header-Content-Length header is invalid and couldn't be parsed"
        )
    if int(text) > length:
        raise UnusableContent(
            "Inference-Header-Content-Length header exceeds actual payload length"
        )
    return int(text)


def _document(text: bytes | memoryview) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson("The file is not valid json", _reason(error, text)) from None
    except RecursionError:
        raise UnusableContent("JSON nesting depth exceeds the allowed limit") from None
    if not isinstance(document, dict):
        raise InvalidInput("Request body should be JSON object")
    return document


def _reason(error: Exception, text: bytes | memoryview) -> str:
    if not len(text):
        return "Error: The document is empty. Offset: 0"
    place = re.search(r"\(byte (\d+)\)", str(error))
    return f"Error: Invalid value. Offset: {place[1] if place else len(text)}"


def _input(item: Any, blobs: _Blobs | None) -> InputTensor:
    if not isinstance(item, dict):
        raise InvalidInput(NOT_AN_ARRAY)
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not _is_shape(shape):
        raise InvalidInput(NOT_AN_ARRAY)
    if datatype not in DTYPES and datatype != BYTES:
        raise InvalidInput(UNSUPPORTED_PRECISION)
    sizes = tuple(shape)
    size = _binary_data_size(item.get("parameters"))
    if "data" in item:
        if size is not None:
            raise UnusableContent(
                "Request contains values both in binary data and in content value"
            )
        return InputTensor(name, datatype, sizes, _values(item["data"], datatype))
    if blobs is None:
        raise InvalidInput(NOT_AN_ARRAY)
    blob = blobs.take_implicit(datatype, sizes) if size is None else blobs.take(size)
    return InputTensor(name, datatype, sizes, framed(blob) if datatype == BYTES else Raw(blob))


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    return isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)


def _binary_data_size(parameters: Any) -> int | None:
    if parameters is None:
        return None
    size = _parameters(parameters).get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidInput("binary_data_size parameter is invalid and cannot be parsed")
    return size


def _binary_outputs(document: dict[str, Any]) -> frozenset[str]:
    """The outputs that should come as bytes; those not listed come as JSON in any case."""
    parameters, outputs = document.get("parameters"), document.get("outputs")
    everything = parameters is not None and _parameters(parameters).get("binary_data_output")
    if outputs is None:
        return frozenset()
    if not isinstance(outputs, list):
        raise InvalidInput("Could not parse output content")
    names: list[str] = []
    for output in outputs:
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise InvalidInput("Could not parse output content")
        own = _parameters(output.get("parameters") or {}).get("binary_data", everything)
        if own is True:
            names.append(output["name"])
    return frozenset(names)


def _parameters(parameters: Any) -> dict[str, str | int]:
    simple = (str, bool, int)
    if not isinstance(parameters, dict) or not all(
        isinstance(value, simple) for value in parameters.values()
    ):
        raise InvalidInput("Could not parse request parameters")
    return parameters


def _values(data: Any, datatype: str) -> Values | Strings:
    return _typed(*_flattened(data), datatype)


def values_of(leaves: list[Any], datatype: str) -> Values | Strings:
    """The content of a tensor whose elements came as JSON. Raises InvalidInput."""
    return _typed(leaves, set(map(type, leaves)), datatype)


def _typed(leaves: list[Any], kinds: set[type], datatype: str) -> Values | Strings:
    if datatype in ("FP16", "BF16"):
        raise InvalidInput(UNSUPPORTED_PRECISION)
    if datatype == BYTES:
        if not kinds <= {str}:
            raise InvalidInput(NOT_AN_ARRAY)
        return Strings([text.encode() for text in leaves])
    dtype = DTYPES[datatype]
    if not kinds <= JSON_TYPES[dtype.kind]:
        raise InvalidInput(NOT_AN_ARRAY)
    try:
        return Values(_whole(leaves, dtype) if dtype.kind in "iu" else _narrowed(leaves, dtype))
    except OverflowError:
        raise InvalidInput(NOT_AN_ARRAY) from None


def _flattened(data: Any) -> tuple[list[Any], set[type]]:
    """The leaves of *data*, row by row, and the types among them."""
    if not isinstance(data, list):
        raise InvalidInput(NOT_AN_ARRAY)
    kinds = set(map(type, data))
    while kinds == {list}:
        data = list(chain.from_iterable(data))
        kinds = set(map(type, data))
    return data, kinds


def _whole(leaves: list[int], dtype: np.dtype[Any]) -> Array:
    array = np.array(leaves, dtype=np.int64)
    if array.size:
        low, high = SIGNED_JSON if dtype.kind == "i" else UNSIGNED_JSON
        limits = np.iinfo(dtype)
        if array.min() < max(low, limits.min) or array.max() > min(high, limits.max):
            raise InvalidInput(NOT_AN_ARRAY)
    return array.astype(dtype)


def _narrowed(leaves: list[Any], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        return np.array(leaves, dtype=dtype)


def _listed(array: Array, spec: TensorSpec) -> list[Any]:
    if spec.datatype in ("FP16", "BF16"):
        raise InvalidInput("Unsupported precision", f"ask for {spec.name} as binary data")
    if array.dtype == object:
        return [each.decode(errors="replace") for each in array.ravel()]
    values: list[Any] = array.ravel().tolist()
    return values


def _line(values: list[Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(values), indent=0)


def _text(value: str) -> bytes:
    return msgspec.json.encode(value)
