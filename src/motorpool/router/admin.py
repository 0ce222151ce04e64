"""Envoy's admin interface on its Unix socket: as much of HTTP as three questions need."""

import asyncio
import os
import re
from pathlib import Path

SOCKET_PATH_LENGTH_MAX = 100  # the kernel takes 107
TIMEOUT_S = 5.0

_TEXT = re.compile(r'^(\S+): "?(.*?)"?$', re.MULTILINE)


async def is_live(socket: Path) -> bool:
    """Whether Envoy has its configuration and serves."""
    try:
        status, _ = await request(socket, "/ready")
    except (OSError, TimeoutError, EOFError):
        return False
    return status == 200


async def stats(socket: Path, pattern: str) -> dict[str, str]:
    """Names and values of what *pattern* finds. Raises OSError, TimeoutError."""
    status, body = await request(socket, f"/stats?filter={pattern}")
    if status != 200:
        raise OSError(f"envoy's admin interface answers {status}")
    return dict(_TEXT.findall(body.decode()))


async def listening(socket: Path) -> set[tuple[str, int]]:
    """Addresses and ports of the listeners that are in force. Raises OSError, TimeoutError."""
    status, body = await request(socket, "/listeners")
    if status != 200:
        raise OSError(f"envoy's admin interface answers {status}")
    found = set()
    for line in body.decode().splitlines():
        address, _, port = line.rpartition("::")[2].rpartition(":")
        if port.isdecimal():
            found.add((address, int(port)))
    return found


async def request(socket: Path, target: str) -> tuple[int, bytes]:
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await _connect(socket)
        try:
            head = f"GET {target} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
        finally:
            writer.close()
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    words = head_bytes.split(None, 2)
    if len(words) < 2:
        raise ConnectionResetError("envoy's admin interface hung up")
    if b"transfer-encoding: chunked" in head_bytes.lower():
        body = _joined(body)
    return int(words[1]), body


def _joined(chunks: bytes) -> bytes:
    """The body of which *chunks* are the pieces."""
    body = b""
    while chunks:
        size_text, _, rest = chunks.partition(b"\r\n")
        size = int(size_text, 16)
        body, chunks = body + rest[:size], rest[size + 2 :] if size else b""
    return body


async def _connect(socket: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if len(os.fsencode(socket)) <= SOCKET_PATH_LENGTH_MAX:
        return await asyncio.open_unix_connection(str(socket))
    # A path that is too long for the kernel is reached through its directory.
    directory = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/{socket.name}")
    finally:
        os.close(directory)
