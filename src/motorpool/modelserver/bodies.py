"""The bodies of requests: read whole, within bounds of size, of time and of their sum."""

import asyncio
import zlib
from typing import Any

from motorpool.modelserver.errors import InvalidInput, Overloaded, TooLarge, TooSlow

BODY_MOST = 2**30  # as OpenVINO Model Server
BODIES_MOST = 2 * BODY_MOST  # all bodies that are held at a time
SMALL_BODY = 2**16  # comes in one piece, or nearly
PIECE = 2**20
WINDOW_BITS = {"gzip": 31, "deflate": 15}
PATIENCE_S = 30.0
SLOWEST_BYTES_S = 2**18


class Bodies:
    """What the requests in flight take of our memory."""

    def __init__(self, body_most: int | None = None, *, together_most: int = BODIES_MOST) -> None:
        self.body_most = BODY_MOST if body_most is None else body_most
        self._together_most = together_most
        self._held = 0
        # The small ones that are read, the longest first, until when, and by which task. One clock
        # for them all: one each would take a twentieth of such a request's time.
        self._awaited: dict[Body, tuple[float, asyncio.Task[Any]]] = {}
        self._is_watched = False

    def open(self, scope: Any) -> "Body":
        return Body(self, scope.headers.get("content-length"))

    def hold(self, size: int) -> None:
        """Raises Overloaded."""
        if self._held + size > self._together_most:
            raise Overloaded(
                f"Too many large requests at a time - {self._together_most} bytes are held at most"
            )
        self._held += size

    def release(self, size: int) -> None:
        self._held -= size

    def watch(self, body: "Body", task: "asyncio.Task[Any]") -> None:
        """Cancels *task*, and says so to *body*, if that is not there in time; see `arrived`."""
        loop = asyncio.get_running_loop()
        self._awaited[body] = loop.time() + PATIENCE_S, task
        if not self._is_watched:
            self._is_watched = True
            loop.call_later(PATIENCE_S, self._give_up)

    def arrived(self, body: "Body") -> None:
        self._awaited.pop(body, None)

    def _give_up(self) -> None:
        loop = asyncio.get_running_loop()
        for body, (deadline, task) in list(self._awaited.items()):
            if deadline > loop.time():
                loop.call_at(deadline, self._give_up)
                return
            self.arrived(body)
            body.is_late = task.cancel()
        self._is_watched = False


class Body:
    """One body; what it holds is released at the end of the ``with`` block."""

    def __init__(self, bodies: Bodies, declared: str | None) -> None:
        self._bodies = bodies
        self._declared = declared
        self._held = 0
        self.is_late = False

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        self._bodies.release(self._held)

    async def read_unpacked(self, protocol: Any, encoding: str | None) -> bytes:
        """The body without its Content-Encoding. Raises InvalidInput beside what `read` raises."""
        content = await self.read(protocol)
        if encoding is None or encoding == "identity":
            return content
        if encoding not in WINDOW_BITS:
            raise InvalidInput("Unsupported content encoding", encoding[:100])
        try:
            return await self._unpacked(content, zlib.decompressobj(WINDOW_BITS[encoding]))
        except zlib.error as error:
            raise InvalidInput("Could not decompress the request body", str(error)) from None

    async def _unpacked(self, content: bytes, stream: Any) -> bytes:
        """What is packed may be a thousand times as large: it is held to account as it grows."""
        parts: list[bytes] = []
        while not stream.eof:
            if parts or len(content) > SMALL_BODY:
                part = await asyncio.to_thread(stream.decompress, content, PIECE)
            else:
                part = stream.decompress(content, PIECE)
            content = stream.unconsumed_tail
            if not (part or content or stream.eof):
                raise InvalidInput("Could not decompress the request body", "it is cut off")
            self._hold(len(part))
            parts.append(part)
        return b"".join(parts)

    async def read(self, protocol: Any) -> bytes:
        """Raises TooLarge, TooSlow, Overloaded."""
        content: bytes
        if self._declared is None:
            return await self._streamed(protocol)
        size = int(self._declared)  # the HTTP server refuses what is no number
        self._hold(size)
        if size <= SMALL_BODY:
            return await self._small(protocol)
        try:
            async with asyncio.timeout(PATIENCE_S + size / SLOWEST_BYTES_S):
                content = await protocol()
        except TimeoutError:
            raise _too_slow() from None
        return content

    async def _small(self, protocol: Any) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        content: bytes
        self._bodies.watch(self, task)
        try:
            content = await protocol()
        except asyncio.CancelledError:
            # Whoever else has cancelled us meanwhile is obeyed.
            if self.is_late and not task.uncancel():
                raise _too_slow() from None
            raise
        finally:
            self._bodies.arrived(self)
        return content

    async def _streamed(self, protocol: Any) -> bytes:
        """A body that does not say how long it is."""
        content = bytearray()
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                async for chunk in protocol:
                    self._hold(len(chunk))
                    content += chunk
                    patience.reschedule((patience.when() or 0) + len(chunk) / SLOWEST_BYTES_S)
        except TimeoutError:
            raise _too_slow() from None
        return bytes(content)

    def _hold(self, size: int) -> None:
        most = self._bodies.body_most
        if self._held + size > most:
            raise TooLarge("Request body is too large", f"at most {most} bytes are taken")
        self._bodies.hold(size)
        self._held += size


def _too_slow() -> TooSlow:
    return TooSlow("Request body did not come in time")
