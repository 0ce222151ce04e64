"""Non-blocking file descriptors on the running event loop: pipes and terminals."""

import asyncio
import os
from collections.abc import Callable

READ_BYTES_MAX = 64 * 1024


class Descriptor:
    """Owns a descriptor. One task may read and one may write at a time."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self.number = number

    async def read(self, size: int = READ_BYTES_MAX) -> bytes:
        """b"" at the end, which for a terminal is that nobody has it open any more."""
        loop = asyncio.get_running_loop()
        while self.number >= 0:
            try:
                return os.read(self.number, size)
            except BlockingIOError:
                await _ready(self.number, loop.add_reader, loop.remove_reader)
            except OSError:
                return b""
        return b""

    async def write(self, content: bytes) -> None:
        """All of it. Raises OSError."""
        loop = asyncio.get_running_loop()
        left = memoryview(content)
        while left:
            if self.number < 0:
                raise BrokenPipeError("closed")
            try:
                left = left[os.write(self.number, left) :]
            except BlockingIOError:
                await _ready(self.number, loop.add_writer, loop.remove_writer)

    def close(self) -> None:
        if self.number >= 0:
            os.close(self.number)
            self.number = -1


async def _ready(number: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    add(number, tell)
    try:
        await ready
    finally:
        remove(number)
