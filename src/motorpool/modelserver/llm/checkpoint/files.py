"""A checkpoint's files: its configuration, and where each tensor lies in which file.

Of the safetensors files only the headers are read here.
"""

import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.contract import CheckpointError

HEADER_BYTES_MAX = 100_000_000  # what the format's own reader accepts

# Their names -> the engine's names, bytes, and how numpy sees them.
_TYPES: dict[str, tuple[str, int, str]] = {
    "F64": ("f64", 8, "<f8"),
    "F32": ("f32", 4, "<f4"),
    "F16": ("f16", 2, "<f2"),
    "BF16": ("bf16", 2, "<u2"),
    "F8_E4M3": ("f8e4m3", 1, "u1"),
    "I64": ("i64", 8, "<i8"),
    "I32": ("i32", 4, "<i4"),
    "I8": ("i8", 1, "i1"),
    "U8": ("u8", 1, "u1"),
    "BOOL": ("boolean", 1, "u1"),
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """*kind* is the engine's name of its element type, or that of the blocks it is kept in."""

    name: str
    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int
    dtype: str
    row_bytes: tuple[int] | None = None  # of a matrix in blocks, which has no elements to count
    rows: npt.NDArray[np.intp] | None = field(default=None, compare=False)  # in their right order

    def with_rows(self, rows: npt.NDArray[np.intp]) -> "StoredTensor":
        return replace(self, rows=rows)

    def array(self, rows: slice = slice(None)) -> npt.NDArray[Any]:
        """Mapped, not read, where the rows are in order; bf16 as its 16 bits, f8 as its 8."""
        shape = self.shape if self.row_bytes is None else (self.shape[0], *self.row_bytes)
        if not self.size:
            return np.zeros(shape, self.dtype)
        array: npt.NDArray[Any] = np.memmap(self.path, self.dtype, "r", self.offset, shape)
        if self.rows is not None:
            return np.asarray(array[self.rows[rows]])
        return array[rows] if shape else array

    def floats(self, rows: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Some rows' numbers."""
        part = self.array(rows)
        if self.kind == "bf16":
            return (part.astype(np.uint32) << 16).view(np.float32)
        if self.kind == "f8e4m3":
            numbers: npt.NDArray[np.float32] = E4M3[part]
            return numbers
        return np.asarray(part, np.float32)


def _e4m3() -> npt.NDArray[np.float32]:
    """The number of each of the 256 codes: 1 bit of sign, 4 of exponent, 3 of mantissa."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, code & 7
    small = mantissa / 8 * 2.0**-6
    large = (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)
    value = np.where(exponent == 0, small, large)
    value[code & 127 == 127] = np.nan
    signed: npt.NDArray[np.float32] = np.where(code > 127, -value, value).astype(np.float32)
    return signed


E4M3 = _e4m3()


def read_json(path: Path) -> dict[str, Any]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return value


def read_json_list(path: Path) -> list[dict[str, Any]]:
    value = _read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise CheckpointError(f"{path} holds no list of JSON objects")
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} has no {path.name}: a language model is served from the files that "
            "Hugging Face keeps of it (config.json, tokenizer.json, *.safetensors)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def read_tensors(directory: Path) -> dict[str, StoredTensor]:
    """By name, of all the safetensors files that belong to the checkpoint."""
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(directory):
        tensors.update(_read_header(path))
    return {_plain_name(name, tensors): stored for name, stored in tensors.items()}


def _plain_name(name: str, names: Collection[str]) -> str:
    """As the architecture alone would have it: models are also parts of larger ones."""
    if name.startswith("language_model."):  # beside a model of images
        return name.removeprefix("language_model.")
    if "embed_tokens.weight" in names:  # without its head, as embeddings are made with
        return f"model.{name}"
    for prefix in ("bert.", "roberta."):
        name = name.removeprefix(prefix)
    return name


_NOT_WHOLE = ", nor a graph in openvino_model.xml; is the download whole?"


def weight_files(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        names = read_json(index).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise CheckpointError(f"{index} has no weight_map")
        paths = [directory / name for name in sorted({str(name) for name in names.values()})]
        missing = [path.name for path in paths if path.parent != directory or not path.is_file()]
        if missing:
            raise CheckpointError(
                f"{index} names files that are not there: {', '.join(missing[:5])}"
            )
        return paths
    single = directory / "model.safetensors"
    paths = [single] if single.is_file() else sorted(directory.glob("*.safetensors"))
    if not paths:
        others = sorted(
            path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern)
        )
        kept = f"; {', '.join(others[:3])} would have to be saved as safetensors" if others else ""
        raise CheckpointError(f"{directory} has no *.safetensors file{kept or _NOT_WHOLE}")
    return paths


POINTER = "is what Git keeps in the place of a large file: `git lfs pull` fetches the file itself"


def is_pointer(start: bytes) -> bool:
    """Whether a file that begins so was never fetched from Git's large file storage."""
    return start[:8] == b"version "


def _read_header(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        start = file.read(8)
        if is_pointer(start):
            raise CheckpointError(f"{path} {POINTER}")
        if len(start) < 8:
            raise CheckpointError(f"{path} is no safetensors file: it has {len(start)} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_BYTES_MAX:
            raise CheckpointError(f"{path} is no safetensors file: its header has no sane length")
        text = file.read(length)
    try:
        header = json.loads(text)
        return {
            name: _stored(path, 8 + length, name, entry)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} has a broken header: {error!r}") from error


def _stored(path: Path, base: int, name: str, entry: Mapping[str, Any]) -> StoredTensor:
    kind = _TYPES.get(entry["dtype"])
    if kind is None:
        raise CheckpointError(
            f"{path}: tensor {name!r} has elements of type {entry['dtype']}, "
            f"known are {', '.join(_TYPES)}"
        )
    begin, end = entry["data_offsets"]
    shape = tuple(int(n) for n in entry["shape"])
    fits = begin >= 0 and all(n >= 0 for n in shape) and base + end <= path.stat().st_size
    if not fits or end - begin != prod(shape) * kind[1]:
        raise CheckpointError(f"{path}: tensor {name!r} does not fit into the file; is it whole?")
    return StoredTensor(name, path, kind[0], shape, base + begin, end - begin, kind[2])
