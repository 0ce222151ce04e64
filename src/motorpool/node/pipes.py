"""A connection to a port of a Pod, as `PodStreams` gives it."""

import asyncio
from collections.abc import Awaitable

CONNECT_TIMEOUT_S = 10.0
PIPE_READ_BYTES = 64 * 1024


async def connect(
    opening: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
) -> "SocketPipe":
    """Raises OSError, with words for the user, where nothing answers."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return SocketPipe(*await opening)
    except TimeoutError:
        raise OSError(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None


class SocketPipe:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(PIPE_READ_BYTES)

    async def write(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    def end(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()
