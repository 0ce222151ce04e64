"""Tensors on their way to and from a model, and whether a request is what the model takes.

Pure. The order of the checks and their texts are OpenVINO Model Server's: count of inputs, then for
each input in the order of names: missing, precision, rank, batch, shape, content.
"""

from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from motorpool.modelserver.errors import InvalidInput
from motorpool.modelserver.layout import UNNAMED, can_hold_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
else:  # The import above takes 5 ms, and runs nothing.
    Array = np.ndarray

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "BF16": np.dtype("<f2"),  # numpy has none: it carries the bits and computes nothing with them
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Every datatype of the protocol but BYTES, as numpy has it."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}
BYTES = "BYTES"
BF16 = "BF16"
INVALID = "INVALID"

ANY = -1


class Dimension(msgspec.Struct, frozen=True):
    low: int
    high: int = ANY  # equal to low where the dimension is fixed; ANY where it has no end

    @property
    def fixed(self) -> bool:
        return self.low == self.high

    def takes(self, size: int) -> bool:
        return self.low <= size and (self.high == ANY or size <= self.high)

    def __str__(self) -> str:
        if self.fixed:
            return str(self.low)
        return str(ANY) if self.high == ANY else f"[{self.low}~{self.high}]"


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor as the model declares it, in the layout that requests have."""

    name: str
    datatype: str
    shape: tuple[Dimension, ...]
    layout: str = UNNAMED

    @property
    def wire_shape(self) -> list[int]:
        """As metadata shows it: -1 for whatever is not fixed."""
        return [each.low if each.fixed else ANY for each in self.shape]


class ModelSpec(msgspec.Struct, frozen=True):
    inputs: tuple[TensorSpec, ...]  # in the order of names
    outputs: tuple[TensorSpec, ...]
    # A table: each row is computed by itself, and an input counts whatever its name and type are.
    rows: bool = False
    columns: tuple[str, ...] = ()  # names of its columns, where the model knows them
    named: bool = False  # over V1 an answer is an object, even of one output


class Values(msgspec.Struct):
    """A numeric tensor that came as JSON, flattened."""

    array: Array


class Raw(msgspec.Struct):
    """A numeric tensor that came as bytes, row by row, little-endian."""

    content: memoryview


class Strings(msgspec.Struct):
    """The elements of a BYTES tensor."""

    elements: list[bytes]


class InputTensor(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    content: Values | Raw | Strings


class InferRequest(msgspec.Struct):
    inputs: list[InputTensor]
    id: str | None = None
    binary_outputs: frozenset[str] = frozenset()
    probabilities: bool = False  # instead of the class that is most probable


class Images(msgspec.Struct):
    """Encoded images which, decoded, make the tensor that *spec* declares."""

    spec: TensorSpec
    encoded: list[bytes]


Prepared: TypeAlias = list[Array | Images]
"""What goes into the model, in the order of `ModelSpec.inputs`."""


def prepared(request: InferRequest, spec: ModelSpec) -> Prepared:
    """The arrays of a request that fits *spec*. Raises InvalidInput where it does not."""
    if spec.rows:
        return [_prepared_rows(request.inputs, spec)]
    if len(request.inputs) != len(spec.inputs):
        raise InvalidInput(
            "Invalid number of inputs",
            f"Expected: {len(spec.inputs)}; Actual: {len(request.inputs)}",
        )
    given = {tensor.name: tensor for tensor in request.inputs}
    return [_prepared_input(given.get(each.name), each) for each in spec.inputs]


def _prepared_rows(inputs: list[InputTensor], spec: ModelSpec) -> Array:
    """One tensor of rows; or one for each column, in the model's order where it knows the names."""
    if not inputs:
        raise InvalidInput("Invalid number of inputs", "Expected: 1; Actual: 0")
    rows = _columns(inputs, spec) if len(inputs) > 1 else _array(inputs[0])
    wanted = spec.inputs[0].shape
    shape = rows.shape
    if len(shape) != len(wanted):
        text = "Invalid number of shape dimensions"
        raise _wrong(text, _parenthesised(wanted), _parenthesised(shape), spec.inputs[0])
    if not all(each.takes(size) for each, size in zip(wanted, shape, strict=True)):
        text = "Invalid input shape"
        raise _wrong(text, _parenthesised(wanted), _parenthesised(shape), spec.inputs[0])
    return rows


def _columns(inputs: list[InputTensor], spec: ModelSpec) -> Array:
    given = {tensor.name: tensor for tensor in inputs}
    if set(given) == set(spec.columns):
        inputs = [given[name] for name in spec.columns]
    columns = [_array(each).reshape(-1) for each in inputs]
    if len({len(column) for column in columns}) != 1:
        raise InvalidInput("Invalid input shape", "the columns differ in length")
    if any(column.dtype == object for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.stack(columns, axis=1)


def _prepared_input(tensor: InputTensor | None, spec: TensorSpec) -> Array | Images:
    if tensor is None:
        raise InvalidInput("Missing input with specific name", f"Required input: {spec.name}")
    if tensor.datatype != spec.datatype:
        if tensor.datatype == BYTES and len(spec.shape) == 4 and spec.datatype != BF16:
            return _images(tensor, spec)
        raise _wrong("Invalid input precision", spec.datatype, tensor.datatype, spec)
    _check_shape(tensor, spec)
    if tensor.datatype == "FP64" and isinstance(tensor.content, Values):
        # OpenVINO Model Server reads every JSON number as a float.
        with np.errstate(over="ignore"):
            return _array(tensor).astype(np.float32).astype(np.float64)
    return _array(tensor)


def _check_shape(tensor: InputTensor, spec: TensorSpec) -> None:
    shape = tensor.shape
    if len(shape) == len(spec.shape):
        if all(each.takes(size) for each, size in zip(spec.shape, shape, strict=True)):
            return
        # Only where the rest fits is a wrong batch the first thing that a user should hear of.
        if shape and spec.layout.startswith("N") and not spec.shape[0].takes(shape[0]):
            raise _wrong("Invalid input batch size", spec.shape[0], shape[0], spec)
    rank = "Invalid number of shape dimensions"
    text = "Invalid input shape" if len(shape) == len(spec.shape) else rank
    raise _wrong(text, _parenthesised(spec.shape), _parenthesised(shape), spec)


def _array(tensor: InputTensor) -> Array:
    content = tensor.content
    count = prod(tensor.shape)
    if isinstance(content, Raw):
        dtype = DTYPES[tensor.datatype]
        if len(content.content) != count * dtype.itemsize:
            raise InvalidInput(
                "Invalid content size of tensor proto",
                f"Expected: {count * dtype.itemsize} bytes; "
                f"Actual: {len(content.content)} bytes; input name: {tensor.name}",
            )
        return _shaped(np.frombuffer(content.content, dtype), tensor)
    actual = len(content.elements) if isinstance(content, Strings) else content.array.size
    if actual != count:
        raise _wrong_count(count, actual, tensor.name)
    if isinstance(content, Strings):
        return _shaped(np.array(content.elements, dtype=object), tensor)
    return _shaped(content.array, tensor)


def _shaped(array: Array, tensor: InputTensor) -> Array:
    try:
        return array.reshape(tensor.shape)
    except (ValueError, OverflowError):  # Nothing in it, and a dimension beyond what numpy counts.
        raise InvalidInput("Invalid input shape", f"input name: {tensor.name}") from None


def _images(tensor: InputTensor, spec: TensorSpec) -> Images:
    if len(tensor.shape) != 1:
        raise InvalidInput(
            "Invalid number of shape dimensions",
            f"Expected number of input shape dimensions: 1; "
            f"Actual: {len(tensor.shape)}; input name: {spec.name}",
        )
    if not can_hold_images(spec.layout):
        raise InvalidInput(
            "Received binary image input but resource not configured to accept NHWC layout"
        )
    if not spec.shape[0].takes(tensor.shape[0]):
        raise _wrong("Invalid input batch size", spec.shape[0], tensor.shape[0], spec)
    assert isinstance(tensor.content, Strings)
    if len(tensor.content.elements) != tensor.shape[0]:
        raise _wrong_count(tensor.shape[0], len(tensor.content.elements), spec.name)
    return Images(spec, tensor.content.elements)


def widened(array: Array, datatype: str) -> Array:
    """*array* with numbers in it, where numpy has only the bits of its datatype."""
    if datatype != BF16:
        return array
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _wrong(text: str, expected: object, actual: object, spec: TensorSpec) -> InvalidInput:
    return InvalidInput(text, f"Expected: {expected}; Actual: {actual}; input name: {spec.name}")


def _wrong_count(expected: int, actual: int, name: str) -> InvalidInput:
    return InvalidInput(
        "Invalid number of values in tensor proto container",
        f"Expected: {expected} values; Actual: {actual} values; input name: {name}",
    )


def _parenthesised(shape: tuple[Any, ...]) -> str:
    return "(" + ",".join(map(str, shape)) + ")"
