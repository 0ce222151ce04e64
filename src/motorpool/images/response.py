"""Reading what a registry answers, within bounds."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from motorpool.images.errors import RefusedContent

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 20


class Passing(Exception):
    """A fault that may be gone at the next try."""


def speaks_tls(response: "httpx.Response") -> bool:
    return b"HTTPS" in read(response, CHUNK_BYTES)


def start_of(response: "httpx.Response") -> int:
    """The first byte that a response holds: 0, unless it is a part (`bytes 5-9/10`)."""
    if response.status_code != 206:
        return 0
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.split("-")[0]
    if unit != "bytes" or not first.isdigit():
        raise Passing("it sent a part of the layer without saying which")
    return int(first)


def joined(chunks: Iterator[bytes], *, skip: int) -> Iterator[bytes]:
    """Pieces of CHUNK_BYTES: the costs of hashing and writing are per call."""
    waiting: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            piece = chunk[skip:]
            skip -= len(chunk) - len(piece)
            waiting.append(piece)
            size += len(piece)
            if size >= CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    except Passing:
        # What came before the fault is good, and need not come again.
        if size:
            yield b"".join(waiting)
        raise
    if size:
        yield b"".join(waiting)


def read(response: "httpx.Response", size_max: int) -> bytes:
    """A small body, whole."""
    parts, size = [], 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > size_max:
            raise RefusedContent(f"{response.request.url} is larger than {size_max} bytes")
        parts.append(chunk)
    return b"".join(parts)


def detail(response: "httpx.Response") -> str:
    """The registry's own words, where it has any: ``{"errors": [{"code", "message"}]}``."""
    try:
        errors = json.loads(read(response, CHUNK_BYTES))["errors"]
        return ": " + "; ".join(f"{one.get('code')} {one.get('message', '')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def words(error: Exception) -> str:
    return str(error) or type(error).__name__
