"""Models in the formats of other frameworks, written by hand: y = 2 * x of four numbers.

They are the smallest files that TensorFlow, TensorFlow Lite and PaddlePaddle would take for theirs,
made without any of them.
"""

import struct
from pathlib import Path
from typing import TypeAlias

# --- Protocol Buffers -----------------------------------------------------------------------------


def varint(value: int) -> bytes:
    content = b""
    while value > 127:
        content += bytes([value & 127 | 128])
        value >>= 7
    return content + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def real(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def entry(field: int, key: str, value: bytes) -> bytes:
    """Of a map."""
    return part(field, part(1, key) + part(2, value))


# --- TensorFlow -----------------------------------------------------------------------------------

TF_FLOAT = 1
TF_SHAPE = b"".join(part(2, number(1, size)) for size in (1, 4))


def tensorflow_graph() -> bytes:
    """A GraphDef: Placeholder x, Const two, y = Mul(x, two)."""
    kind = number(6, TF_FLOAT)
    two = part(8, number(1, TF_FLOAT) + part(2, b"") + part(4, struct.pack("<f", 2)))
    x = part(1, "x") + part(2, "Placeholder")
    x += entry(5, "dtype", kind) + entry(5, "shape", part(7, TF_SHAPE))
    constant = part(1, "two") + part(2, "Const") + entry(5, "dtype", kind) + entry(5, "value", two)
    y = part(1, "y") + part(2, "Mul") + part(3, "x") + part(3, "two") + entry(5, "T", kind)
    return part(1, x) + part(1, constant) + part(1, y) + part(4, number(1, 1286))


def tensorflow_frozen(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(tensorflow_graph())


def tensorflow_saved_model(directory: Path) -> None:
    def information(name: str) -> bytes:
        return part(1, f"{name}:0") + number(2, TF_FLOAT) + part(3, TF_SHAPE)

    signature = entry(1, "x", information("x")) + entry(2, "y", information("y"))
    signature += part(3, "tensorflow/serving/predict")
    graph = part(1, part(4, "serve")) + part(2, tensorflow_graph())
    graph += entry(5, "serving_default", signature)
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(number(1, 1) + part(2, graph))


# --- PaddlePaddle ---------------------------------------------------------------------------------

PD_FLOAT, PD_TENSOR, PD_FEED, PD_FETCH = 5, 7, 9, 10


def paddle(file: Path) -> None:
    """A ProgramDesc: feed -> scale -> fetch; it has no parameters."""

    def variable(name: str) -> bytes:
        sizes = number(2, 1) + number(2, 4)
        tensor = number(1, PD_TENSOR) + part(3, part(1, number(1, PD_FLOAT) + sizes))
        return part(3, part(1, name) + part(2, tensor))

    def end(name: str, kind: int) -> bytes:
        return part(3, part(1, name) + part(2, number(1, kind)) + number(3, 1))

    def named(field: int, parameter: str, argument: str) -> bytes:
        return part(field, part(1, parameter) + part(2, argument))

    def operation(kind: str, given: str, made: str, attributes: bytes) -> bytes:
        return part(4, named(1, "X", given) + named(2, "Out", made) + part(3, kind) + attributes)

    column = part(4, part(1, "col") + number(2, 0) + number(3, 0))
    doubling = part(4, part(1, "scale") + number(2, 1) + real(4, 2))
    doubling += part(4, part(1, "bias") + number(2, 1) + real(4, 0))
    doubling += part(4, part(1, "bias_after_scale") + number(2, 6) + number(10, 1))
    block = number(1, 0) + number(2, 0) + end("feed", PD_FEED) + end("fetch", PD_FETCH)
    block += variable("x") + variable("y")
    block += operation("feed", "feed", "x", column) + operation("scale", "x", "y", doubling)
    block += operation("fetch", "y", "fetch", column)
    file.parent.mkdir(parents=True)
    file.write_bytes(part(1, block) + part(4, number(1, 2_000_000)))
    file.with_suffix(".pdiparams").write_bytes(b"")


# --- TensorFlow Lite, which is FlatBuffers --------------------------------------------------------

Flat: TypeAlias = "int | str | bytes | list[int] | list[Flat] | dict[int, Flat]"
"""A table is a dict by the numbers of its fields; a vector a list, or bytes."""

MULTIPLY, MULTIPLY_OPTIONS = 18, 21


def tensorflow_lite(file: Path) -> None:
    x = {0: [1, 4], 2: 1, 3: "x"}
    two = {0: [1], 2: 2, 3: "two"}
    y = {0: [1, 4], 2: 1, 3: "y"}
    operation: Flat = {0: 0, 1: [0, 1], 2: [2], 3: MULTIPLY_OPTIONS, 4: {0: 0}}
    graph: Flat = {0: [x, two, y], 1: [0], 2: [2], 3: [operation], 4: "main"}
    buffers: Flat = [{}, {}, {0: struct.pack("<f", 2)}]
    code: Flat = {0: MULTIPLY, 2: 1, 3: MULTIPLY}
    file.parent.mkdir(parents=True)
    file.write_bytes(flat({0: 3, 1: [code], 2: [graph], 3: "by hand", 4: buffers}, b"TFL3"))


def flat(root: Flat, identifier: bytes) -> bytes:
    """Whoever points at something stands before it, for offsets count forward."""
    out = bytearray(4) + identifier
    _point(out, 0, root)
    return bytes(out)


def _point(out: bytearray, place: int, target: Flat) -> None:
    position = _put(out, target)
    struct.pack_into("<I", out, place, position - place)


def _put(out: bytearray, value: Flat) -> int:
    out.extend(bytes(-len(out) % 16))
    if isinstance(value, dict):
        return _put_table(out, value)
    position = len(out)
    out.extend(struct.pack("<I", len(value)))
    if isinstance(value, str):
        out.extend(value.encode() + b"\0")
    elif isinstance(value, bytes):
        out.extend(value)
    elif all(isinstance(each, int) for each in value):
        out.extend(struct.pack(f"<{len(value)}i", *value))
    else:
        out.extend(bytes(4 * len(value)))
        for index, each in enumerate(value):
            _point(out, position + 4 + 4 * index, each)
    return position


def _put_table(out: bytearray, fields: "dict[int, Flat]") -> int:
    slots = max(fields, default=-1) + 1
    places = {field: 4 + 4 * index for index, field in enumerate(fields)}
    head = len(out)
    sizes = [4 + 2 * slots, 4 + 4 * len(fields)]
    out.extend(struct.pack(f"<{2 + slots}H", *sizes, *(places.get(i, 0) for i in range(slots))))
    out.extend(bytes(-len(out) % 4))
    position = len(out)
    out.extend(struct.pack("<i", position - head) + bytes(4 * len(fields)))
    for field, value in fields.items():
        if isinstance(value, int):
            struct.pack_into("<I", out, position + places[field], value)
        else:
            _point(out, position + places[field], value)
    return position
