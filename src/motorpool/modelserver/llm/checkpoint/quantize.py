"""Fewer bits for a weight, in numpy. Values only.

int8: one scale for each row. int4: a scale and a zero point for each group of columns in a row.
Both are weight-only: what they are multiplied with stays as it is.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Integers = npt.NDArray[Any]

BLOCK_ELEMENTS = 1 << 20  # what fits a core's cache with its intermediates
GROUPS = (128, 64, 32)  # columns that share a scale in int4; the first that divides the row


def to_int8(values: Array) -> tuple[Integers, Array]:
    """i8 [rows, columns] and their scales [rows, 1]."""
    most = np.max(np.abs(values), axis=1, keepdims=True)
    scales = np.maximum(most / 127, np.finfo(np.float32).tiny)
    scaled = values / scales
    return np.rint(scaled, out=scaled).astype(np.int8), scales


def to_int4(values: Array, group: int) -> tuple[Integers, Array, Integers]:
    """u4 in bytes [rows, columns / 2], scales and zero points [rows, groups, 1]."""
    grouped = values.reshape(len(values), -1, group)
    low = np.minimum(grouped.min(axis=2, keepdims=True), 0)
    high = np.maximum(grouped.max(axis=2, keepdims=True), 0)
    scales = np.maximum((high - low) / 15, np.finfo(np.float32).tiny)
    zeros = np.rint(-low / scales)
    codes = np.clip(np.rint(grouped / scales + zeros), 0, 15).astype(np.uint8)
    return pack4(codes.reshape(values.shape)), scales, zeros.astype(np.uint8)


def int4_group(columns: int) -> int | None:
    return next((group for group in GROUPS if columns % group == 0), None)


def pack4(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Two to a byte, the earlier in the lower half."""
    packed: Integers = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed


def unpack4(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    codes: npt.NDArray[np.uint8] = np.stack((packed & 15, packed >> 4), axis=-1)
    return codes.reshape(*packed.shape[:-1], -1)


def by_rows(rows: int, columns: int, make: Callable[[slice], Sequence[Any]]) -> list[Any]:
    """What *make* gives for blocks of rows, put together; on every core of this process."""
    step = max(1, BLOCK_ELEMENTS // columns)
    blocks = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    first = make(blocks[0])
    if len(blocks) == 1:
        return list(first)
    whole = [np.empty((rows, *part.shape[1:]), part.dtype) for part in first]

    def fill(block: slice) -> None:
        for array, part in zip(whole, make(block), strict=True):
            array[block] = part

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(fill, blocks):
            pass
    return whole
