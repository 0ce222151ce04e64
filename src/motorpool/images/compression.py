"""Layers as plain tar, whatever they were packed with; bounded memory for any input."""

import zlib
from collections.abc import Iterator

from motorpool.images.errors import RefusedContent
from motorpool.images.manifest import Compression

OUTPUT_BYTES_MAX = 1 << 20
WINDOW_BYTES_MAX = 128 << 20  # `zstd --long=27`, the most that zstd itself takes unasked


def plain(chunks: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """Takes *chunks* to their end, so that whoever verifies them sees all."""
    if compression == "gzip":
        return _gzip(chunks)
    if compression == "zstd":
        return _zstd(chunks)
    return chunks


def _gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                if not rest.strip(b"\0"):
                    break  # padding after the last member
                member = zlib.decompressobj(wbits=31)
            try:
                output = member.decompress(rest, OUTPUT_BYTES_MAX)
            except zlib.error as error:
                raise RefusedContent(f"the layer is not valid gzip: {error}") from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if output:
                yield output
        # What did not fit into the bounded output yet, where all input has been taken.
        while not member.eof and (output := member.decompress(b"", OUTPUT_BYTES_MAX)):
            yield output
    if not member.eof:
        raise RefusedContent("the layer's gzip stream is cut off; push the image again")


class _Readable:
    """The file that zstandard reads: one chunk per read, at most."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        piece = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(piece) :]
        return piece


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    reader = decompressor.stream_reader(
        _Readable(chunks),  # type: ignore[arg-type]  # it needs nothing but read()
        read_size=OUTPUT_BYTES_MAX,
        read_across_frames=True,
    )
    try:
        while output := reader.read(OUTPUT_BYTES_MAX):
            yield output
    except zstandard.ZstdError as error:
        raise RefusedContent(f"the layer is not valid zstd: {error}") from error
