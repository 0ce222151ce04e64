"""The blocks that GGUF files keep weights in, as integers, scales and zero points. Values only.

A block holds the codes of some neighbours in a row with what they share. A weight is
(code - zero) * scale; the K types share scales of scales among 256.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.checkpoint.quantize import pack4

Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
# Of blocks [n, bytes]: codes [n, elements], scales and zeros [n, groups]; no zeros are all 0.
Unpack = Callable[[Bytes], tuple[Array, Array, Array | None]]


@dataclass(frozen=True, slots=True)
class Block:
    elements: int
    bytes: int
    kind: str  # of the codes, for the engine
    group: int  # elements that share a scale
    unpack: Unpack
    zeros: bool

    def rows(self, data: Bytes, kind: str) -> list[Array]:
        """Of rows of blocks [rows, bytes]: codes, two to a byte as u4; scales; zeros."""
        count = len(data)
        codes, scales, zeros = self.unpack(data.reshape(-1, self.bytes))
        codes = codes.reshape(count, -1)
        parts = [pack4(codes) if kind == "u4" else codes]
        parts.append(scales.reshape(count, -1).astype(np.float32))
        if zeros is not None:
            parts.append(zeros.reshape(count, -1).astype(np.float32))
        return parts


def _half(data: Bytes, at: int) -> Array:
    """The f16 at a byte of each block, as a column."""
    values: Array = np.ascontiguousarray(data[:, at : at + 2]).view(np.float16).astype(np.float32)
    return values


def _nibbles(data: Bytes) -> Array:
    """All the lower halves, then all the upper."""
    return np.hstack((data & 15, data >> 4))


def _bits(data: Bytes) -> Array:
    """Of each byte its eight bits, the lowest first."""
    return np.unpackbits(np.ascontiguousarray(data), axis=1, bitorder="little")


def _affine(scales: Array, least: Array) -> tuple[Array, Array]:
    """code * scale + least, as (code - zero) * scale."""
    safe = np.where(scales == 0, 1, scales)
    return safe, -least / safe


def _q8_0(data: Bytes) -> tuple[Array, Array, Array | None]:
    return np.ascontiguousarray(data[:, 2:]).view(np.int8), _half(data, 0), None


def _q4_0(data: Bytes) -> tuple[Array, Array, Array | None]:
    scales = _half(data, 0)
    return _nibbles(data[:, 2:]), scales, np.full_like(scales, 8)


def _q4_1(data: Bytes) -> tuple[Array, Array, Array | None]:
    scales, zeros = _affine(_half(data, 0), _half(data, 2))
    return _nibbles(data[:, 4:]) * (_half(data, 0) != 0).astype(np.uint8), scales, zeros


def _q5_0(data: Bytes) -> tuple[Array, Array, Array | None]:
    codes = _nibbles(data[:, 6:]) | (_bits(data[:, 2:6]) << 4)
    return codes.astype(np.int8) - np.int8(16), _half(data, 0), None


def _q5_1(data: Bytes) -> tuple[Array, Array, Array | None]:
    scales, zeros = _affine(_half(data, 0), _half(data, 2))
    codes = _nibbles(data[:, 8:]) | (_bits(data[:, 4:8]) << 4)
    return codes * (_half(data, 0) != 0).astype(np.uint8), scales, zeros


def _k_scales(data: Bytes) -> tuple[Array, Array]:
    """Eight scales and eight minima of 6 bits each, in 12 bytes."""
    low, high, rest = data[:, 0:4], data[:, 4:8], data[:, 8:12]
    scales = np.hstack((low & 63, (rest & 15) | ((low >> 6) << 4)))
    minima = np.hstack((high & 63, (rest >> 4) | ((high >> 6) << 4)))
    return scales.astype(np.float32), minima.astype(np.float32)


def _k_affine(data: Bytes, codes: Array) -> tuple[Array, Array, Array | None]:
    steps, minima = _k_scales(data[:, 4:16])
    scales = _half(data, 0) * steps
    safe, zeros = _affine(scales, -_half(data, 2) * minima)
    used = np.repeat((scales != 0).astype(np.uint8), 32, axis=1)
    return codes * used, safe, zeros


def _pairs(data: Bytes) -> Array:
    """Of each 32 bytes the lower halves, then the upper."""
    return _nibbles(data.reshape(-1, 32)).reshape(len(data), -1)


def _q4_k(data: Bytes) -> tuple[Array, Array, Array | None]:
    return _k_affine(data, _pairs(data[:, 16:144]))


def _q5_k(data: Bytes) -> tuple[Array, Array, Array | None]:
    # Bit g of byte i is the fifth bit of element i in group g.
    high = _bits(data[:, 16:48]).reshape(-1, 32, 8).swapaxes(1, 2).reshape(len(data), 256)
    return _k_affine(data, _pairs(data[:, 48:176]) | (high << 4))


def _q6_k(data: Bytes) -> tuple[Array, Array, Array | None]:
    # In each half of 128: nibbles of 64 bytes, and 32 bytes with four pairs of high bits.
    low = data[:, :128].reshape(-1, 2, 2, 32)
    high = data[:, 128:192].reshape(-1, 2, 1, 32)
    nibbles = np.concatenate((low & 15, low >> 4), axis=2)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    codes = (nibbles | ((high >> shifts & 3) << 4)).reshape(len(data), 256)
    steps = np.ascontiguousarray(data[:, 192:208]).view(np.int8).astype(np.float32)
    return codes.astype(np.int8) - np.int8(32), _half(data, 208) * steps, None


BLOCKS: dict[str, Block] = {
    "q4_0": Block(32, 18, "u4", 32, _q4_0, zeros=True),
    "q4_1": Block(32, 20, "u4", 32, _q4_1, zeros=True),
    "q5_0": Block(32, 22, "i8", 32, _q5_0, zeros=False),
    "q5_1": Block(32, 24, "u8", 32, _q5_1, zeros=True),
    "q8_0": Block(32, 34, "i8", 32, _q8_0, zeros=False),
    "q4_k": Block(256, 144, "u4", 32, _q4_k, zeros=True),
    "q5_k": Block(256, 176, "u8", 32, _q5_k, zeros=True),
    "q6_k": Block(256, 210, "i8", 16, _q6_k, zeros=False),
}
