"""Weights of 4 or 8 bits in words of 32: what compressed-tensors calls pack-quantized.

The words' nibbles are in the order in which the engine keeps its own, so they are used where they
lie; only where columns are out of order are they packed anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.checkpoint.blob import Bytes, FileRange, Source
from motorpool.modelserver.llm.checkpoint.files import StoredTensor
from motorpool.modelserver.llm.checkpoint.quantize import pack4, unpack4
from motorpool.modelserver.llm.contract import CheckpointError


@dataclass(frozen=True, slots=True)
class Packed:
    """Codes [rows, groups, columns of a group]; *order* is of the columns, where not theirs."""

    bits: int
    shape: tuple[int, int, int]
    codes: Source
    scales: npt.NDArray[np.float32]  # [rows, groups]
    zeros: npt.NDArray[np.uint8]  # one, or [rows, groups]
    order: npt.NDArray[np.intp] | None = None


def read_packed(tensors: Mapping[str, StoredTensor], name: str) -> Packed:
    stored = _needed(tensors, f"{name}.weight_packed")
    scales = _needed(tensors, f"{name}.weight_scale").floats()
    rows, columns = (int(n) for n in _needed(tensors, f"{name}.weight_shape").array())
    bits = 32 * stored.shape[1] // columns if columns else 0
    if bits not in (4, 8) or stored.shape[0] != rows or stored.kind != "i32":
        raise CheckpointError(
            f"tensor {stored.name!r} has {bits} bits for each weight; this engine knows 4 and 8"
        )
    groups = scales.shape[1] if scales.ndim == 2 else 1
    if columns % groups or scales.size != rows * groups:
        raise CheckpointError(
            f"tensor {stored.name!r}: {scales.size} scales for {rows} rows of {columns} columns"
        )
    codes: Source = FileRange(stored.path, stored.offset, stored.size)
    order = _order(tensors.get(f"{name}.weight_g_idx"))
    if order is not None:
        codes = Bytes(_reordered(stored, bits, order).tobytes())
    return Packed(
        bits,
        (rows, groups, columns // groups),
        codes,
        scales.reshape(rows, groups),
        _zeros(tensors.get(f"{name}.weight_zero_point"), bits, rows, groups),
        order,
    )


def _needed(tensors: Mapping[str, StoredTensor], name: str) -> StoredTensor:
    stored = tensors.get(name)
    if stored is None:
        raise CheckpointError(f"the checkpoint has no tensor {name!r}; are all its files there?")
    return stored


def _zeros(stored: StoredTensor | None, bits: int, rows: int, groups: int) -> npt.NDArray[np.uint8]:
    """Symmetric codes are kept with half of their range added."""
    half = 1 << (bits - 1)
    if stored is None:
        return np.array([half], np.uint8)
    values = stored.array()
    if stored.kind == "i32":  # packed too, along the rows
        columns = np.ascontiguousarray(values.T).view(np.uint8)
        return (unpack4(columns) if bits == 4 else columns).T[:rows].copy()
    return (values.astype(np.int16) + half).astype(np.uint8).reshape(rows, groups)


def _order(stored: StoredTensor | None) -> npt.NDArray[np.intp] | None:
    """Columns by their group, where they are not so already."""
    if stored is None:
        return None
    groups = np.asarray(stored.array())
    if (groups < 0).any() or (np.diff(groups) >= 0).all():
        return None
    return np.argsort(groups, kind="stable")


def _reordered(
    stored: StoredTensor, bits: int, order: npt.NDArray[np.intp]
) -> npt.NDArray[np.uint8]:
    words = np.ascontiguousarray(stored.array()).view(np.uint8)
    return pack4(unpack4(words)[:, order]) if bits == 4 else words[:, order]
