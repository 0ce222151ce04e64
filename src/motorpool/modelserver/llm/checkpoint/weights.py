"""A checkpoint's tensors as values of the graph, in the form that they are stored or asked for in.

Compressed weights stay compressed in memory: the engine multiplies with the integers, where it
finds the operations that give back the floats in the order integers, zero points, scales.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.checkpoint.blob import Computed, FileRange, Source
from motorpool.modelserver.llm.checkpoint.files import StoredTensor
from motorpool.modelserver.llm.checkpoint.ggml import BLOCKS
from motorpool.modelserver.llm.checkpoint.graph import Graph, Value
from motorpool.modelserver.llm.checkpoint.packed import Packed, read_packed
from motorpool.modelserver.llm.checkpoint.quantize import by_rows, int4_group, to_int4, to_int8
from motorpool.modelserver.llm.contract import CheckpointError, Quantization

_FLOATS = ("f32", "f16", "bf16")
# Below this many elements a matrix is left as it is: it is no load, and its rows may be sensitive.
QUANTIZED_ELEMENTS_MIN = 1 << 12


class Weights:
    """*quantization* is done to what the checkpoint has in floats."""

    def __init__(
        self,
        graph: Graph,
        tensors: Mapping[str, StoredTensor],
        quantization: Quantization = "none",
    ) -> None:
        self._graph = graph
        self._tensors = tensors
        self._quantization = quantization
        self._constants: dict[str, list[Value]] = {}

    def has(self, name: str) -> bool:
        return name in self._tensors

    def has_matrix(self, name: str) -> bool:
        return self.has(f"{name}.weight") or self.has(f"{name}.weight_packed")

    def rows(self, name: str, indices: Value) -> Value:
        """The rows at *indices* of a matrix, in f32."""
        # Rows first, then f32: the other way round all of the matrix would be kept in f32.
        if self.stored(f"{name}.weight").kind in BLOCKS:
            return self._rows_of_blocks(self.stored(f"{name}.weight"), indices)
        stored = self._floats(f"{name}.weight")
        if not self._quantizes(stored):
            return self._to_f32(self._gather(self._constant(stored), indices))
        codes, scales = self._int8(stored)
        rows = self._to_f32(self._gather(codes, indices))
        return self._multiply(rows, self._gather(scales, indices))

    def project(self, x: Value, name: str, *, head: bool = False) -> Value:
        """*x* times the transpose of a matrix [outputs, inputs].

        The *head* is never int4: its rows may be the embedding's too, and they decide most.
        """
        if self.has(f"{name}.weight_packed"):
            return self._project_packed(x, read_packed(self._tensors, name))
        stored = self.stored(f"{name}.weight")
        if stored.kind == "i8":
            return self._matmul(x, self._scaled_int8(name, stored))
        if stored.kind == "f8e4m3":
            return self._project_f8(x, name, stored)
        if stored.kind in BLOCKS:
            return self._matmul(x, self._matrix_of_blocks(stored))
        stored = self._floats(name + ".weight")
        if not self._quantizes(stored):
            return self._matmul(x, self._decompressed(self._constant(stored), stored.kind))
        group = int4_group(stored.shape[1])
        if self._quantization == "int4" and group and not head:
            return self._matmul(x, self._int4(stored, group))
        codes, scales = self._int8(stored)
        return self._matmul(x, self._multiply(self._to_f32(codes), scales))

    def vector(self, name: str, plus: float = 0.0) -> Value:
        return self._graph.constant(self.stored(name).floats() + np.float32(plus))

    def stored(self, name: str) -> StoredTensor:
        found = self._tensors.get(name)
        if found is None:
            raise CheckpointError(
                f"the checkpoint has no tensor {name!r}; are all its files there?"
            )
        return found

    # Floats.

    def _floats(self, name: str) -> StoredTensor:
        stored = self.stored(name)
        if stored.kind not in _FLOATS:
            raise CheckpointError(
                f"tensor {name!r} has elements of type {stored.kind}, where only {_FLOATS} can be"
            )
        return stored

    def _constant(self, stored: StoredTensor) -> Value:
        found = self._constants.get(stored.name)
        if found is None:
            source: Source = FileRange(stored.path, stored.offset, stored.size)
            if stored.rows is not None:
                source = Computed((stored.size,), lambda: [stored.array()])
            found = [self._graph.weight(source, stored.kind, stored.shape)]
            self._constants[stored.name] = found
        return found[0]

    def _decompressed(self, value: Value, kind: str) -> Value:
        if kind == "f32":
            return value
        return self._graph.op("Convert", value, info="decompression", destination_type="f32")

    # Integers that we make.

    def _quantizes(self, stored: StoredTensor) -> bool:
        big = len(stored.shape) == 2 and np.prod(stored.shape) >= QUANTIZED_ELEMENTS_MIN
        return self._quantization != "none" and bool(big)

    def _int8(self, stored: StoredTensor) -> list[Value]:
        """Codes and scales of floats, once for all who use them."""
        found = self._constants.get(stored.name)
        if found is None:
            rows, columns = stored.shape
            source = Computed(
                (rows * columns, 4 * rows),
                lambda: by_rows(rows, columns, lambda at: to_int8(stored.floats(at))),
            )
            shapes = (("i8", (rows, columns)), ("f32", (rows, 1)))
            found = self._constants[stored.name] = self._computed(source, shapes)
        return found

    def _int4(self, stored: StoredTensor, group: int) -> Value:
        rows, columns = stored.shape
        groups = columns // group
        source = Computed(
            (rows * columns // 2, 4 * rows * groups, rows * groups),
            lambda: by_rows(rows, columns, lambda at: to_int4(stored.floats(at), group)),
        )
        shapes = (
            ("u4", (rows, groups, group)),
            ("f32", (rows, groups, 1)),
            ("u8", (rows, groups, 1)),
        )
        codes, scales, zeros = self._computed(source, shapes)
        return self._grouped(codes, scales, zeros, columns)

    def _computed(
        self, source: Computed, shapes: Sequence[tuple[str, tuple[int, ...]]]
    ) -> list[Value]:
        start = self._graph.blob.add(source)
        return [
            self._graph.weight_at(start + offset, size, kind, shape)
            for offset, size, (kind, shape) in zip(
                source.offsets, source.sizes, shapes, strict=True
            )
        ]

    # Integers and small floats that the checkpoint has.

    def _scaled_int8(self, name: str, stored: StoredTensor) -> Value:
        codes = self._to_f32(self._constant(stored))
        if self.has(f"{name}.weight_zero_point"):
            zeros = self.stored(f"{name}.weight_zero_point").floats()
            codes = self._subtract(codes, self._graph.constant(zeros.reshape(-1, 1)))
        return self._multiply(codes, self._graph.constant(self._scales(name)))

    def _project_f8(self, x: Value, name: str, stored: StoredTensor) -> Value:
        """The engine has no f8: they are bf16 without loss, with the scales on what comes out."""
        scales = self._scales(name)
        if len(scales) not in (1, stored.shape[0]):
            raise CheckpointError(
                f"tensor {name}.weight has {len(scales)} scales for {stored.shape[0]} rows: f8 in "
                "blocks is not known to this engine"
            )
        rows, columns = stored.shape
        if self._quantization != "none":
            each = np.broadcast_to(scales, (rows, 1))
            source = Computed(
                (rows * columns, 4 * rows),
                lambda: by_rows(rows, columns, lambda at: to_int8(stored.floats(at) * each[at])),
            )
            shapes = (("i8", (rows, columns)), ("f32", (rows, 1)))
            codes, factors = self._computed(source, shapes)
            return self._matmul(x, self._multiply(self._to_f32(codes), factors))
        source = Computed(
            (2 * rows * columns,),
            lambda: by_rows(rows, columns, lambda at: (_to_bf16(stored.floats(at)),)),
        )
        (weight,) = self._computed(source, (("bf16", stored.shape),))
        y = self._matmul(x, self._decompressed(weight, "bf16"))
        return self._multiply(y, self._graph.constant(scales.reshape(-1)))

    def _scales(self, name: str) -> npt.NDArray[np.float32]:
        return self.stored(f"{name}.weight_scale").floats().reshape(-1, 1)

    def _project_packed(self, x: Value, packed: Packed) -> Value:
        graph = self._graph
        rows, groups, group = packed.shape
        codes = graph.weight(packed.codes, f"u{packed.bits}", packed.shape)
        scales = graph.constant(packed.scales.reshape(rows, groups, 1))
        zeros = graph.constant(packed.zeros.reshape(-1, 1 if packed.zeros.size == 1 else groups, 1))
        if packed.order is not None:
            order = graph.constant(packed.order.astype(np.int64))
            axis = graph.constant(np.array(-1, np.int64))
            x = graph.op("Gather", x, order, axis, version="opset8", batch_dims=0)
        return self._matmul(x, self._grouped(codes, scales, zeros, groups * group))

    # Blocks of a GGUF file.

    def _blocks(self, stored: StoredTensor, *, by_rows_too: bool = False) -> list[Value]:
        """Codes [rows, groups, group], scales and zeros [rows, groups, 1]."""
        found = self._constants.get(stored.name)
        if found is None:
            block, (rows, columns) = BLOCKS[stored.kind], stored.shape
            groups = columns // block.group
            # The engine cannot take rows out of what has two elements in a byte.
            kind = "u8" if by_rows_too and block.kind == "u4" else block.kind
            bits = 4 if kind == "u4" else 8
            sizes = [rows * columns * bits // 8, 4 * rows * groups]
            shapes = [(kind, (rows, groups, block.group)), ("f32", (rows, groups, 1))]
            if block.zeros:
                sizes.append(sizes[1])
                shapes.append(shapes[1])
            source = Computed(
                tuple(sizes),
                lambda: by_rows(rows, columns, lambda at: block.rows(stored.array(at), kind)),
            )
            found = self._constants[stored.name] = self._computed(source, shapes)
        return found

    def _matrix_of_blocks(self, stored: StoredTensor) -> Value:
        codes, scales, *zeros = self._blocks(stored)
        return self._ungrouped(self._to_f32(codes), scales, zeros, [-1, stored.shape[1]])

    def _rows_of_blocks(self, stored: StoredTensor, indices: Value) -> Value:
        parts = self._blocks(stored, by_rows_too=True)
        codes, scales, *zeros = (self._gather(part, indices) for part in parts)
        return self._ungrouped(self._to_f32(codes), scales, zeros, [0, 0, stored.shape[1]])

    # What the engine looks for.

    def _grouped(self, codes: Value, scales: Value, zeros: Value, columns: int) -> Value:
        return self._ungrouped(self._to_f32(codes), scales, [self._to_f32(zeros)], [-1, columns])

    def _ungrouped(
        self, floats: Value, scales: Value, zeros: Sequence[Value], shape: Sequence[int]
    ) -> Value:
        for zero in zeros:
            floats = self._subtract(floats, zero)
        floats = self._multiply(floats, scales)
        return self._graph.op("Reshape", floats, self._graph.ints(shape), special_zero=True)

    def _to_f32(self, value: Value) -> Value:
        return self._graph.op("Convert", value, destination_type="f32")

    def _gather(self, value: Value, indices: Value) -> Value:
        axis = self._graph.ints(0)
        return self._graph.op("Gather", value, indices, axis, version="opset8", batch_dims=0)

    def _subtract(self, a: Value, b: Value) -> Value:
        return self._graph.op("Subtract", a, b, auto_broadcast="numpy")

    def _multiply(self, a: Value, b: Value) -> Value:
        return self._graph.op("Multiply", a, b, auto_broadcast="numpy")

    def _matmul(self, x: Value, matrix: Value) -> Value:
        return self._graph.op("MatMul", x, matrix, transpose_a=False, transpose_b=True)


def _to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Of numbers that need no rounding."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)
