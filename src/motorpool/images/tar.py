"""The tar format as a stream of entries, for reading layers and writing them.

The standard library's tarfile wants files that seek, keeps every member and believes any length;
layers come from strangers over a network. So: its header codec is used, its loop is not.

Rules:
  1. Reading never holds more than one chunk plus one bounded extended header.
  2. Every byte that is not a file's content goes to *literal*: with the files, that is the
     whole tar again, byte for byte (`layer.py` keeps no second copy of the models).
  3. Writing is reproducible: the same entries give the same bytes on any machine.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from motorpool.images.errors import RefusedContent

BLOCK = 512
EXTENDED_HEADER_BYTES_MAX = 1 << 20
END = bytes(2 * BLOCK)

FILE, DIRECTORY, SYMLINK, HARDLINK = "file", "directory", "symlink", "hardlink"
_KINDS = {
    tarfile.REGTYPE: FILE,
    tarfile.AREGTYPE: FILE,
    tarfile.CONTTYPE: FILE,
    tarfile.DIRTYPE: DIRECTORY,
    tarfile.SYMTYPE: SYMLINK,
    tarfile.LNKTYPE: HARDLINK,
}
_TYPES = {FILE: tarfile.REGTYPE, DIRECTORY: tarfile.DIRTYPE, SYMLINK: tarfile.SYMTYPE}
_REFUSED = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a fifo",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True, slots=True)
class TarEntry:
    path: str  # as it stands in the archive
    kind: str
    mode: int = 0o644
    size: int = 0
    target: str = ""
    mtime: int = 0


class ByteStream:
    """Reads exact amounts from chunks of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """*size* bytes, fewer only where the stream ends. For small amounts."""
        parts = [bytes(piece) for piece in self.pieces(size)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next *size* bytes as views that are valid until the next one is taken."""
        while size:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._rest = memoryview(chunk)
                continue
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size -= len(piece)
            yield piece

    def drain(self) -> Iterator[memoryview]:
        yield self._rest
        self._rest = memoryview(b"")
        for chunk in self._chunks:
            yield memoryview(chunk)


class TarReader:
    """``for entry in reader.entries()``; a file's content must be taken before the next entry."""

    def __init__(self, stream: ByteStream, literal: Callable[[bytes | memoryview], None]) -> None:
        self._stream = stream
        self._literal = literal
        self._unread = 0
        self._padding = 0

    def entries(self) -> Iterator[TarEntry]:
        extended: dict[str, str] = {}
        defaults: dict[str, str] = {}
        while (header := self._header()) is not None:
            if header.type == tarfile.XHDTYPE:
                extended.update(_pax(self._extension(header)))
            elif header.type == tarfile.XGLTYPE:
                defaults.update(_pax(self._extension(header)))
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                extended["path"] = _text(self._extension(header).split(b"\0")[0])
            elif header.type == tarfile.GNUTYPE_LONGLINK:
                extended["linkpath"] = _text(self._extension(header).split(b"\0")[0])
            else:
                entry = _entry(header, {**defaults, **extended})
                extended = {}
                self._unread, self._padding = entry.size, -entry.size % BLOCK
                yield entry
                self._end_content()
        for rest in self._stream.drain():
            self._literal(rest)

    def content(self) -> Iterator[memoryview]:
        """The content of the entry just given."""
        for piece in self._stream.pieces(self._unread):
            self._unread -= len(piece)
            yield piece
        if self._unread:
            raise RefusedContent("the layer ends in the middle of a file; push the image again")

    def _end_content(self) -> None:
        for piece in self.content():
            self._literal(piece)
        self._literal(self._exactly(self._padding))

    def _header(self) -> tarfile.TarInfo | None:
        block = self._stream.read(BLOCK)
        self._literal(block)
        if not block or block.count(0) == BLOCK:
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise RefusedContent(f"the layer is not a tar archive: {error}") from error

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= EXTENDED_HEADER_BYTES_MAX:
            raise RefusedContent(f"the layer has an extended header of {header.size} bytes")
        raw = self._exactly(header.size + -header.size % BLOCK)
        self._literal(raw)
        return raw[: header.size]

    def _exactly(self, size: int) -> bytes:
        raw = self._stream.read(size)
        if len(raw) != size:
            raise RefusedContent("the layer ends in the middle of an entry; push the image again")
        return raw


def header(entry: TarEntry) -> bytes:
    """*entry*'s header as any build of it writes it: owner 0, time 0, PAX only where needed."""
    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.mode, info.size, info.linkname = entry.mode, entry.size, entry.target
    info.mtime = entry.mtime
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _entry(header: tarfile.TarInfo, extended: dict[str, str]) -> TarEntry:
    path = extended.get("path", header.name)
    if header.type in _REFUSED or any(key.startswith("GNU.sparse") for key in extended):
        what = _REFUSED.get(header.type, "a sparse file")
        raise RefusedContent(f"'{path}' is {what}, which an image of a model must not hold")
    kind = _KINDS.get(header.type)
    if kind is None:
        raise RefusedContent(f"'{path}' is of the unknown tar type {header.type!r}")
    size = _size(extended.get("size"), header.size, path) if kind == FILE else 0
    return TarEntry(path, kind, header.mode, size, extended.get("linkpath", header.linkname))


def _size(extended: str | None, plain: int, path: str) -> int:
    if extended is not None and not (extended.isascii() and extended.isdigit()):
        raise RefusedContent(f"'{path}' has the size {extended!r}")
    size = plain if extended is None else int(extended)
    if size < 0:
        raise RefusedContent(f"'{path}' has a negative size")
    return size


def _pax(raw: bytes) -> dict[str, str]:
    """``LENGTH KEY=VALUE\\n`` again and again, the length counting itself."""
    records: dict[str, str] = {}
    while raw and raw[0]:
        length_text, space, _ = raw[:21].partition(b" ")
        if not space or not length_text.isdigit():
            raise RefusedContent("the layer has a broken extended header")
        length = int(length_text)
        record = raw[len(length_text) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(raw) or not equals or not value.endswith(b"\n"):
            raise RefusedContent("the layer has a broken extended header")
        records[_text(key)] = _text(value[:-1])
        raw = raw[length:]
    return records


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
