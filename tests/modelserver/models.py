"""Small models, built for the tests."""

import functools
import math
import timeit
from pathlib import Path

from motorpool.modelserver.main import warm

warm()

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402


def save(directory: Path, outputs: list[object], inputs: list[object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(outputs, inputs, "m"), directory / "model.xml", compress_to_fp16=False)


def parameter(name: str, shape: list[int], dtype: type = np.float32) -> ov.Node:
    node = op.parameter(shape, dtype, name=name)
    node.output(0).set_names({name})
    return node


def named(node: ov.Node, name: str) -> ov.Node:
    node.output(0).set_names({name})
    return node


def times(directory: Path, factor: float, shape: tuple[int, ...] = (1, 4)) -> None:
    """y = factor * x"""
    x = parameter("x", list(shape))
    save(directory, [named(op.multiply(x, np.float32(factor)), "y")], [x])


def two_inputs(directory: Path) -> None:
    """sum = a + b (any batch); twice = 2 * b, of whole numbers."""
    a = parameter("a", [-1, 2], np.int32)
    b = parameter("b", [-1, 2], np.int32)
    total = named(op.add(a, b), "sum")
    twice = named(op.multiply(b, np.int32(2)), "10twice")
    save(directory, [total, twice], [a, b])


def slow(directory: Path, size: int = 1200, busy_s: float = 1) -> None:
    """Products of matrices, as many as keep this machine busy for *busy_s*."""
    save(directory, *_products(size, math.ceil(busy_s / _product_s(size))))


def slow_of_one_number(directory: Path, busy_s: float) -> None:
    """y = something of x that keeps this machine busy for *busy_s*."""
    size = 700
    x = parameter("x", [1])
    start = op.multiply(x, op.constant(np.full((size, size), 0.01, np.float32)))
    save(directory, [_total(start, math.ceil(busy_s / _product_s(size)))], [x])


def _products(size: int, count: int) -> tuple[list[object], list[object]]:
    x = parameter("x", [size, size])
    return [_total(x, count)], [x]


def _total(start: ov.Node, count: int) -> ov.Node:
    node = start
    for _ in range(count):
        node = op.tanh(op.matmul(node, start, False, False))
    return named(op.reduce_sum(node, np.array([0, 1])), "y")


@functools.cache
def _product_s(size: int) -> float:
    """Measured: one processor's time is ten times another's."""
    count = 10
    compiled = ov.Core().compile_model(ov.Model(*_products(size, count), "m"), "CPU")
    zeros = np.zeros((size, size), np.float32)
    return min(timeit.repeat(lambda: compiled(zeros), number=1, repeat=5)) / count


def onnx_times_two(file: Path) -> None:
    """y = x * 2 for four numbers, as ONNX; written by hand, for want of its library."""
    file.parent.mkdir(parents=True, exist_ok=True)
    two = _number(1, 1) + _number(2, _FLOAT) + _field(8, b"two") + _field(9, b"\0\0\0\x40")
    node = _field(1, b"x") + _field(1, b"two") + _field(2, b"y") + _field(4, b"Mul")
    graph = _field(1, node) + _field(2, b"g") + _field(5, two)
    graph += _field(11, _value(b"x")) + _field(12, _value(b"y"))
    opset = _field(1, b"") + _number(2, 13)
    file.write_bytes(_number(1, 8) + _field(7, graph) + _field(8, opset))


_FLOAT = 1


def _value(name: bytes) -> bytes:
    shape = b"".join(_field(1, _number(1, size)) for size in (1, 4))
    return _field(1, name) + _field(2, _field(1, _number(1, _FLOAT) + _field(2, shape)))


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3, value])


def _field(field: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([field << 3 | 2, len(content)]) + content


def table(directory: Path, megabytes: int) -> None:
    """y = the row of a large table of random numbers that x names."""
    x = parameter("x", [1], np.int32)
    rows = np.random.default_rng(0).random((megabytes, 2**18), np.float32)
    row = op.gather(op.constant(rows), x, op.constant(np.int32(0)))
    save(directory, [named(op.reduce_sum(row, np.array([1])), "y")], [x])


def bfloat_times_two(directory: Path) -> None:
    """y = 2 * x, of bfloat16."""
    x = op.parameter([1, 4], ov.Type.bf16, name="x")
    x.output(0).set_names({"x"})
    y = op.convert(op.multiply(op.convert(x, "f32"), np.float32(2)), "bf16")
    save(directory, [named(y, "y")], [x])
