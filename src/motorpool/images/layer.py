"""One unpacked layer on disk: every byte once, and still the whole tar when it is asked for.

    layers/HEX/layer.json      digests and sizes, written last
    layers/HEX/entries.jsonl   one line per entry, in the archive's order
    layers/HEX/files/N         the content of the Nth file, 0444 or 0555
    layers/HEX/skeleton        all bytes of the tar that are no file's content

Rules:
  1. No name from the archive ever becomes a path here: files are numbered. Names matter only when
     a tree is planned (`trees.py`), after all of them have been checked.
  2. Skeleton and files together are the uncompressed tar (`plain_bytes`), so a model is not kept
     twice, a push can send it, and a killed pull can go on where it stopped.
  3. An entry's line is written before its content: what is on disk is always a prefix of the tar.
"""

import errno
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from motorpool.base.atomicfile import write_atomically
from motorpool.images.errors import Cancelled, RefusedContent
from motorpool.images.tar import FILE, ByteStream, TarReader

CHUNK_BYTES = 1 << 20
COPY_BYTES = 8 << 20  # then hashed while it is still in the processor's cache
FLUSH_BYTES = 32 << 20  # start writing to disk while the rest still arrives
UNFLUSHED_FILES_MAX = 64  # each holds a descriptor


@dataclass(frozen=True, slots=True)
class Limits:
    """What a layer may grow to. A zip bomb is 1000 times its size; a model hardly 2 times."""

    entries_max: int = 200_000
    bytes_max: int = 1 << 40
    expansion_max: int = 100
    expansion_floor_bytes: int = 1 << 30

    def check(self, entries: int, unpacked: int, transferred: int) -> None:
        if entries > self.entries_max:
            raise RefusedContent(f"the layer has more than {self.entries_max} entries")
        if unpacked > self.bytes_max:
            raise RefusedContent(f"the layer unpacks to more than {self.bytes_max} bytes")
        if unpacked > self.expansion_floor_bytes + self.expansion_max * transferred:
            raise RefusedContent(
                f"the layer unpacks to more than {self.expansion_max} times its {transferred} bytes"
            )


@dataclass(frozen=True, slots=True)
class LayerEntry:
    path: str
    kind: str
    mode: int
    size: int
    target: str
    literal: int  # bytes of the skeleton that precede this entry's content
    file: int  # its number under files/, -1 where it has none


@dataclass(frozen=True, slots=True)
class LayerRecord:
    digest: str  # of the blob as it was transferred
    plain_digest: str  # of the uncompressed tar: the diff ID
    plain_size: int
    unpacked_bytes: int


class Flusher:
    """Brings files to the disk in the background; leaving the block waits until all are there."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="images-flush")
        self._slots = threading.BoundedSemaphore(UNFLUSHED_FILES_MAX)
        self._failure: BaseException | None = None

    def __enter__(self) -> "Flusher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)
        if self._failure and error is None:
            raise self._failure

    def start(self, descriptor: int) -> "Future[None]":
        return self._pool.submit(os.fdatasync, descriptor)

    def finish(self, descriptor: int) -> None:
        """Flushes and closes *descriptor*."""
        self._slots.acquire()
        self._pool.submit(self._finish, descriptor)

    def _finish(self, descriptor: int) -> None:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            self._failure = error
        finally:
            os.close(descriptor)
            self._slots.release()


class LayerWriter:
    """Writes one layer directory from the bytes of its tar."""

    def __init__(self, directory: Path, flusher: Flusher, cancelled: threading.Event) -> None:
        self.directory = directory
        self.unpacked_bytes = 0
        self._flusher = flusher
        self._cancelled = cancelled
        self.literals = 0
        self._files = 0
        (directory / "files").mkdir(parents=True)
        self._skeleton = (directory / "skeleton").open("wb", buffering=0)
        self._entries = (directory / "entries.jsonl").open("wb", buffering=0)

    def unpack(self, plain: Iterator[bytes], transferred: int, limits: Limits) -> None:
        """Takes *plain* to its end, however many bytes follow the archive's own."""
        reader = TarReader(ByteStream(plain), self.literal)
        for count, entry in enumerate(reader.entries(), start=1):
            self.unpacked_bytes += entry.size
            limits.check(count, self.unpacked_bytes, transferred)
            line = LayerEntry(
                entry.path, entry.kind, entry.mode, entry.size, entry.target, self.literals, -1
            )
            self.add(line, reader.content() if entry.kind == FILE else None)

    def literal(self, piece: bytes | memoryview) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self.literals += len(piece)
        _write_all(self._skeleton, piece)

    def add(self, entry: LayerEntry, content: Iterator[memoryview] | None) -> None:
        number = -1 if content is None else self._files
        line = [*astuple(entry)[:-1], number]
        _write_all(self._entries, json.dumps(line).encode() + b"\n")
        if content is not None:
            self._files += 1
            self._write_file(number, 0o555 if entry.mode & 0o111 else 0o444, content)

    def add_copy(self, entry: LayerEntry, source: Path) -> Iterator[bytes]:
        """As `add`, with the content of *source*, copied by the kernel; gives its bytes."""
        self.add(entry, iter(()))
        path = self.directory / "files" / str(self._files - 1)
        mode = path.stat().st_mode
        path.chmod(0o644)
        with source.open("rb") as read, path.open("r+b", buffering=0) as write:
            copied, flushed = 0, 0
            while count := _copy_range(read.fileno(), write.fileno(), COPY_BYTES):
                if self._cancelled.is_set():
                    raise Cancelled
                yield from _chunks_at(write.fileno(), copied, count)
                copied += count
                if copied - flushed >= FLUSH_BYTES:
                    self._flusher.finish(os.dup(write.fileno()))
                    flushed = copied
            path.chmod(mode)
            self._flusher.finish(os.dup(write.fileno()))
        self.unpacked_bytes += copied

    def close(self) -> None:
        with self._skeleton, self._entries:  # closed, whatever a full disk says to this:
            os.fsync(self._skeleton.fileno())
            os.fsync(self._entries.fileno())

    def _write_file(self, number: int, mode: int, content: Iterator[memoryview]) -> None:
        path = self.directory / "files" / str(number)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        flushing: Future[None] | None = None
        unflushed = 0
        try:
            for piece in content:
                if self._cancelled.is_set():
                    raise Cancelled
                rest = piece
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                unflushed += len(piece)
                if unflushed >= FLUSH_BYTES and (flushing is None or flushing.done()):
                    flushing = self._flusher.start(descriptor)
                    unflushed = 0
        finally:
            try:
                if flushing is not None:
                    flushing.result()
                os.fchmod(descriptor, mode)  # whatever the umask
            finally:
                self._flusher.finish(descriptor)


def write_record(directory: Path, record: LayerRecord) -> None:
    """Declares the layer whole; its files have been flushed."""
    write_atomically(directory / "layer.json", json.dumps(asdict(record)).encode())


def read_record(directory: Path) -> LayerRecord | None:
    """None where the layer is not there, or not whole."""
    try:
        return LayerRecord(**json.loads((directory / "layer.json").read_bytes()))
    except FileNotFoundError:
        return None


def read_entries(directory: Path) -> Iterator[LayerEntry]:
    with (directory / "entries.jsonl").open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return  # cut off when its writer was killed
            yield LayerEntry(*json.loads(line))


def plain_bytes(directory: Path) -> Iterator[bytes]:
    """The uncompressed tar; of a layer that was never finished, as much as there is."""
    position = 0
    with (directory / "skeleton").open("rb") as skeleton:
        for entry in read_entries(directory):
            if entry.file < 0:
                continue
            # A header without its content may have been cut off: never skip over a gap.
            wanted = entry.literal - position
            literal = skeleton.read(wanted)
            position += len(literal)
            yield literal
            if len(literal) < wanted:
                return
            taken = 0
            for chunk in file_chunks(directory / "files" / str(entry.file)):
                taken += len(chunk)
                yield chunk
            if taken < entry.size:
                return
        while chunk := skeleton.read(CHUNK_BYTES):
            yield chunk


def file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        return


def _chunks_at(descriptor: int, offset: int, size: int) -> Iterator[bytes]:
    end = offset + size
    while offset < end:
        chunk = os.pread(descriptor, min(CHUNK_BYTES, end - offset), offset)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def _copy_range(source: int, target: int, size: int) -> int:
    try:
        return os.copy_file_range(source, target, size)
    except OSError as error:  # across filesystems, on old kernels
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.sendfile(target, source, None, size)


def _write_all(file: FileIO, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]
