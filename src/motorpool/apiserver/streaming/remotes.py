"""The client of a session, over WebSocket channels or over SPDY streams.

Rules: what a client sends to stdin is held until the session takes it, up to `STDIN_BYTES_MAX`, and
then its connection is not read; nothing a session writes is held here. The end of a session is a
Status on the error channel, and only then the connection is closed, once the client has closed it
or has had time to: to hang up on a client that still sends could lose what it has not read yet.
"""

import asyncio
import base64
import json
from collections import deque
from typing import Protocol

from motorpool.api.streams import Output, SessionOptions, Size
from motorpool.apiserver.streaming import spdy, websocket
from motorpool.apiserver.streaming.upgrade import Wire

STDIN_BYTES_MAX = 256 * 1024
SIZE_BYTES_MAX = 256
PING_PERIOD_S = 20.0
OPENING_TIMEOUT_S = 30.0

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHANNELS: dict[Output, int] = {"stdout": STDOUT, "stderr": STDERR}

V5, V4, V4_BASE64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
WEBSOCKET_PROTOCOLS = (V5, V4, V4_BASE64)
SPDY_PROTOCOLS = (V4,)


class Client(Protocol):
    """A client as the API server holds it: a `Remote`, and the connection behind it."""

    async def read(self) -> bytes: ...

    async def write(self, output: Output, content: bytes) -> None: ...

    async def size(self) -> Size: ...

    async def receive(self) -> None:
        """Takes what the client sends until it has gone."""
        ...

    async def begin(self) -> None:
        """Returns once the client is ready. Raises TimeoutError."""
        ...

    async def finish(self, status: bytes) -> None:
        """Tells how the session ended."""
        ...


class Inbox:
    """What a client has sent and its session has not taken."""

    def __init__(self) -> None:
        self._stdin: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._discards = False
        self._size: Size | None = None
        self._news = asyncio.Condition()

    async def put(self, content: bytes) -> None:
        """Waits while there is too much."""
        async with self._news:
            await self._news.wait_for(lambda: self._held < STDIN_BYTES_MAX or self._discards)
            if content and not self._discards and not self._ended:
                self._stdin.append(content)
                self._held += len(content)
                self._news.notify_all()

    async def end(self) -> None:
        async with self._news:
            self._ended = True
            self._news.notify_all()

    async def discard(self) -> None:
        """From now on nobody reads."""
        async with self._news:
            self._discards = True
            self._news.notify_all()

    async def resize(self, text: bytes) -> None:
        """A size as clients write it; anything else counts for nothing."""
        size = size_of(text)
        if size is not None:
            async with self._news:
                self._size = size
                self._news.notify_all()

    async def read(self) -> bytes:
        async with self._news:
            await self._news.wait_for(lambda: self._stdin or self._ended)
            content = b"".join(self._stdin)
            self._stdin.clear()
            self._held = 0
            self._news.notify_all()
            return content

    async def size(self) -> Size:
        async with self._news:
            await self._news.wait_for(lambda: self._size is not None)
            size, self._size = self._size, None
            assert size is not None
            return size


def size_of(text: bytes) -> Size | None:
    """``{"Width":80,"Height":24}``; None for one that no terminal has."""
    try:
        found = json.loads(text[:SIZE_BYTES_MAX])
        size = Size(int(found["Width"]), int(found["Height"]))
    except (ValueError, KeyError, TypeError):
        return None
    return size if min(size) > 0 and max(size) < 1 << 16 else None


class WebSocketClient:
    def __init__(self, wire: Wire, protocol: str) -> None:
        self._wire = wire
        self._protocol = protocol
        self._inbox = Inbox()
        self.read, self.size = self._inbox.read, self._inbox.size

    async def begin(self) -> None:
        await self._send(STDOUT, b"")  # So that the client knows that it is connected.

    async def write(self, output: Output, content: bytes) -> None:
        if content:
            await self._send(CHANNELS[output], content)

    async def receive(self) -> None:
        pinging = asyncio.create_task(self._ping())
        reader = websocket.Reader()
        try:
            while content := await self._wire.read():
                for message in reader.feed(content):
                    if message.opcode == websocket.CLOSE:
                        await self._wire.write(websocket.close_frame())
                        return
                    await self._take(message)
        except websocket.WebSocketError as error:
            await self._wire.write(websocket.close_frame(error.code, str(error)))
        except ConnectionError:
            return
        finally:
            pinging.cancel()

    async def finish(self, status: bytes) -> None:
        await self._inbox.discard()
        await self._send(ERROR, status)
        await self._wire.write(websocket.close_frame())

    async def _ping(self) -> None:
        """Finds out about a client that is gone without a word."""
        try:
            while True:
                await asyncio.sleep(PING_PERIOD_S)
                await self._wire.write(websocket.frame(websocket.PING))
        except ConnectionError:
            return

    async def _take(self, message: websocket.Message) -> None:
        if message.opcode == websocket.PING:
            await self._wire.write(websocket.frame(websocket.PONG, message.payload))
            return
        if message.opcode == websocket.PONG or not message.payload:
            return
        channel, content = message.payload[0], message.payload[1:]
        if self._protocol == V4_BASE64:
            channel, content = channel - ord("0"), _decoded(content)
        if channel == STDIN:
            await self._inbox.put(content)
        elif channel == RESIZE:
            await self._inbox.resize(content)
        elif channel == CLOSE and self._protocol == V5 and content[:1] == b"\0":
            await self._inbox.end()

    async def _send(self, channel: int, content: bytes) -> None:
        if self._protocol == V4_BASE64:
            text = b"%d%s" % (channel, base64.b64encode(content))
            await self._wire.write(websocket.frame(websocket.TEXT, text))
        else:
            head = bytes((channel,))
            await self._wire.write(websocket.frame(websocket.BINARY, head, content))


def _decoded(content: bytes) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise websocket.WebSocketError(websocket.PROTOCOL_ERROR, "not base64") from error


class SpdyClient:
    """One stream for each of error, stdin, stdout, stderr and resize, as asked for."""

    def __init__(self, wire: Wire, options: SessionOptions) -> None:
        self._wire = wire
        self._codec = spdy.Codec()
        self._inbox = Inbox()
        self._wanted = {"error"} | {
            name for name in ("stdin", "stdout", "stderr") if getattr(options, name)
        }
        if options.tty:
            self._wanted = (self._wanted - {"stderr"}) | {"resize"}
        self._streams: dict[str, int] = {}
        self._types: dict[int, str] = {}
        self._complete = asyncio.Event()
        self.read, self.size = self._inbox.read, self._inbox.size

    async def begin(self) -> None:
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            await self._complete.wait()

    async def write(self, output: Output, content: bytes) -> None:
        if content and output in self._streams:
            await self._wire.write(spdy.data(self._streams[output], content))

    async def receive(self) -> None:
        try:
            while content := await self._wire.read():
                for event in self._codec.feed(content):
                    await self._take(event)
        except (ConnectionError, spdy.SpdyError):
            return

    async def finish(self, status: bytes) -> None:
        await self._inbox.discard()
        ends = [
            spdy.data(self._streams[output], b"", is_final=True)
            for output in CHANNELS
            if output in self._streams
        ]
        ends.append(spdy.data(self._streams["error"], status, is_final=True))
        await self._wire.write(*ends)

    async def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(stream, headers):
                await self._open(stream, headers.get("streamtype", ""))
            case spdy.Data(stream, payload, is_final):
                await self._data(self._types.get(stream, ""), payload, is_final)
            case spdy.Reset(stream) if self._types.get(stream) == "stdin":
                await self._inbox.end()
            case spdy.Ping(number):
                await self._wire.write(spdy.ping(number))

    async def _open(self, stream: int, kind: str) -> None:
        if kind not in self._wanted or kind in self._streams:
            await self._wire.write(spdy.reset(stream, spdy.REFUSED_STREAM))
            return
        self._streams[kind] = stream
        self._types[stream] = kind
        await self._wire.write(self._codec.reply(stream, {}))
        if self._wanted <= self._streams.keys():
            self._complete.set()

    async def _data(self, kind: str, payload: bytes, is_final: bool) -> None:
        if kind == "stdin":
            await self._inbox.put(payload)
            if is_final:
                await self._inbox.end()
        elif kind == "resize":
            await self._inbox.resize(payload)
