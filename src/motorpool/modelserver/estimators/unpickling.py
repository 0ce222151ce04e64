"""A pickle read as data: numbers, texts, numpy's arrays, and objects of a few known classes.

Nothing in the file is run. An object of a class in `known` becomes a `Record` of its attributes;
any other class, and whatever else a pickle may ask for, is `NotData`. Arrays are read as pickle
writes them and as joblib does: behind the object that describes them, in the file itself.
"""

import pickle
from collections.abc import Collection
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# What numpy itself pickles arrays and scalars with, by its old name and its new one.
NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
} | {
    (f"numpy.{core}.multiarray", name): example.__reduce__()[0]
    for core in ("core", "_core")
    for name, example in (("_reconstruct", np.empty(0)), ("scalar", np.float64()))
}
JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")


class NotData(Exception):
    """The text says what the file asks for."""


class Record:
    """An object of a known class, without the class."""

    name: str
    attributes: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = {name: _unwrapped(value) for name, value in state.items()}


def read(file: Path, known: Collection[tuple[str, str]]) -> Any:
    """Raises NotData, OSError."""
    with file.open("rb") as opened:
        if opened.peek(1)[:1] != b"\x80":
            raise NotData("it is compressed, or older than what this reads")
        return _unwrapped(_load(opened, known))


def _load(file: BinaryIO, known: Collection[tuple[str, str]]) -> Any:
    try:
        return _Reader(file, known).load()
    except NotData:
        raise
    # A pickle that is cut off or made up fails in as many ways as there are instructions.
    except Exception as error:
        raise NotData(f"it is damaged: {type(error).__name__}: {error}") from error


# The one in C reads ahead, past the place where an array begins.
class _Reader(pickle._Unpickler):  # noqa: SLF001
    def __init__(self, file: BinaryIO, known: Collection[tuple[str, str]]) -> None:
        super().__init__(file)
        self._known = known
        self._array = type("_Array", (_JoblibArray,), {"file": file, "known": known})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return type(name, (Record,), {"name": name})
        if (module, name) == JOBLIB_ARRAY:
            return self._array
        if (found := NUMPY.get((module, name))) is not None:
            return found
        raise NotData(f"{module}.{name}")


class _JoblibArray:
    """What joblib writes in place of an array, whose content follows at once."""

    file: BinaryIO
    known: Collection[tuple[str, str]]

    def __setstate__(self, state: dict[str, Any]) -> None:
        dtype, shape = state["dtype"], state["shape"]
        if dtype.hasobject:
            self.array = _load(self.file, self.known)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.read(self.file.read(1)[0])
        content = self.file.read(prod(shape) * dtype.itemsize)
        array = np.frombuffer(content, dtype)
        fortran = state["order"] == "F"
        self.array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, _JoblibArray):
        return value.array
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(each) for each in value)
    return value
