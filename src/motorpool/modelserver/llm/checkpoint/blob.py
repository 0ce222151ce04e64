"""The file of weights beside a graph: planned while the graph is built, written in one pass.

A plan holds where bytes come from, not the bytes: what a checkpoint's file has is copied in
pieces, what is computed (quantised) is computed as it is written, one tensor at a time.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PIECE_BYTES = 16 << 20  # written at once, and then no longer in this process' memory
ALIGNMENT = 64  # bytes; a cache line, and the widest vector


class Source(Protocol):
    @property
    def size(self) -> int: ...

    def write(self, to: "Output") -> None:
        """All of *size* bytes."""
        ...


class Output:
    """The end of an open file, and the checksum of what went there."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.checksum = 0

    def write(self, data: memoryview) -> None:
        self.checksum = crc32(data, self.checksum)
        while data:
            data = data[os.write(self._file, data) :]


@dataclass(frozen=True, slots=True)
class Bytes:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, to: Output) -> None:
        to.write(memoryview(self.data))


@dataclass(frozen=True, slots=True)
class FileRange:
    path: Path
    offset: int
    size: int

    def write(self, to: Output) -> None:
        # Mapped and written in pieces: half the time of sendfile, which goes through a pipe.
        start = self.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        length = self.offset + self.size - start
        if not self.size:
            return
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), length, offset=start, access=mmap.ACCESS_READ) as mapped,
        ):
            for at in range(0, length, PIECE_BYTES):
                with memoryview(mapped)[at : at + PIECE_BYTES] as piece:
                    first = max(self.offset - start - at, 0)
                    to.write(piece[first:])
                mapped.madvise(mmap.MADV_DONTNEED, at, min(PIECE_BYTES, length - at))


@dataclass(frozen=True, slots=True)
class Computed:
    """Arrays that are made together; *make* is called while writing, and they are let go at once.

    Each begins at a multiple of the alignment from the first.
    """

    sizes: tuple[int, ...]
    make: Callable[[], Sequence[Array]]

    @property
    def offsets(self) -> list[int]:
        *ends, _ = accumulate((aligned(size) for size in self.sizes), initial=0)
        return ends

    @property
    def size(self) -> int:
        return self.offsets[-1] + self.sizes[-1]

    def write(self, to: Output) -> None:
        at = 0
        for array, offset, size in zip(self.make(), self.offsets, self.sizes, strict=True):
            if array.nbytes != size:
                raise ValueError(f"{array.nbytes} bytes computed where {size} were planned")
            to.write(memoryview(bytes(offset - at)))
            to.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            at = offset + size


class Blob:
    """Sources one after the other, each at a multiple of the alignment."""

    def __init__(self) -> None:
        self.size = 0
        self._sources: list[tuple[int, Source]] = []

    def add(self, source: Source) -> int:
        offset = aligned(self.size)
        self._sources.append((offset, source))
        self.size = offset + source.size
        return offset

    def write(self, file: int) -> int:
        """All of it to an open file; returns the checksum."""
        to = Output(file)
        at = 0
        for offset, source in self._sources:
            to.write(memoryview(bytes(offset - at)))
            source.write(to)
            at = offset + source.size
        return to.checksum


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
