"""``pods/portforward``: connections to the ports of a Pod, many over one connection of a client.

    SPDY/3.1+portforward.k8s.io   SPDY inside a WebSocket (kubectl from 1.31)
    portforward.k8s.io            SPDY (kubectl before it)
    v4.channel.k8s.io             WebSocket channels, one pair for each of ``?ports=`` (Python)

Rules: each local connection is a data stream and an error stream. Either side may end its
direction alone; what cannot be reached is told on the error stream, and the others go on. A stream
holds up to `STREAM_BYTES_MAX` for its Pod; then the client's connection waits, as its protocol
knows no other way.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs

from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object, at, name_of
from motorpool.api.streams import Pipe, PodStreams
from motorpool.apiserver.http import Request, Takeover
from motorpool.apiserver.streaming import spdy, websocket
from motorpool.apiserver.streaming.remotes import V4
from motorpool.apiserver.streaming.sessions import GOODBYE_S, negotiated, upgraded
from motorpool.apiserver.streaming.upgrade import Wire

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PLAIN = "portforward.k8s.io"
CONNECTIONS_MAX = 512
PORTS_MAX = 128
STREAM_BYTES_MAX = 1024 * 1024


async def open_portforward(request: Request, pod: Object, streams: PodStreams) -> Takeover:
    """Raises ApiError."""
    phase = at(pod, "status", "phase", default="Pending")
    if phase != "Running":
        raise BadRequest(
            f"unable to forward port because pod is not running. Current status={phase}"
        )
    ports = ports_of(request.raw_query)
    channels = (V4,) if ports else ()
    protocol = negotiated(request, (TUNNEL, *channels), (PLAIN,))

    async def run(request: Request) -> None:
        wire = upgraded(request, protocol)
        try:
            if protocol == V4:
                await ChannelForwarder(wire, pod, streams, ports).run()
            else:
                link = wire if protocol == PLAIN else Tunnel(wire)
                await SpdyForwarder(link, pod, streams).run()
        except (ConnectionError, websocket.WebSocketError, spdy.SpdyError):
            return
        finally:
            wire.close()

    return Takeover(run)


def ports_of(query: str) -> list[int]:
    """Raises BadRequest."""
    values = parse_qs(query).get("ports") or []
    texts = [text for value in values for text in value.split(",") if text]
    if len(texts) > PORTS_MAX:
        raise BadRequest(f"at most {PORTS_MAX} ports may be asked for")
    return [port_of(text) for text in texts]


def port_of(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise BadRequest(f'unable to parse "{text}" as a port')
    return int(text)


class Link(Protocol):
    """Bytes from and to a client."""

    async def read(self) -> bytes: ...

    async def write(self, *parts: bytes) -> None: ...


class Tunnel:
    """A byte stream inside a WebSocket; where its messages begin and end means nothing."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._reader = websocket.Reader()

    async def read(self) -> bytes:
        while content := await self._wire.read():
            pieces = []
            for message in self._reader.feed(content):
                if message.opcode == websocket.CLOSE:
                    await self._wire.write(websocket.close_frame())
                    return b""
                if message.opcode == websocket.PING:
                    await self._wire.write(websocket.frame(websocket.PONG, message.payload))
                elif message.opcode == websocket.BINARY:
                    pieces.append(message.payload)
            if any(pieces):
                return b"".join(pieces)
        return b""

    async def write(self, *parts: bytes) -> None:
        await self._wire.write(websocket.frame(websocket.BINARY, *parts))


class Outbox:
    """What a client has sent to a Pod that has not taken it."""

    def __init__(self) -> None:
        self._content: deque[bytes] = deque()
        self._size = 0
        self._ended = self._dropped = False
        self._news = asyncio.Condition()

    async def put(self, content: bytes, *, is_final: bool = False) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._size < STREAM_BYTES_MAX or self._dropped)
            if content and not self._dropped:
                self._content.append(content)
                self._size += len(content)
            self._ended = self._ended or is_final
            self._news.notify_all()

    async def drop(self) -> None:
        """The Pod takes no more."""
        async with self._news:
            self._dropped = True
            self._news.notify_all()

    async def take(self) -> bytes:
        async with self._news:
            await self._news.wait_for(lambda: self._content or self._ended)
            content = b"".join(self._content)
            self._content.clear()
            self._size = 0
            self._news.notify_all()
            return content


async def pour(outbox: Outbox, pipe: Pipe) -> None:
    """From the client to the Pod."""
    try:
        while content := await outbox.take():
            await pipe.write(content)
        pipe.end()
    except OSError:
        await outbox.drop()


def unreachable(pod: Object, port: int, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"failed to connect to port {port} of pod {name_of(pod)}: {why}"


@dataclass(slots=True)
class _Connection:
    port: int
    error: int = 0
    data: int = 0
    outbox: Outbox = field(default_factory=Outbox)
    task: asyncio.Task[None] | None = None


class SpdyForwarder:
    def __init__(self, link: Link, pod: Object, streams: PodStreams) -> None:
        self._link = link
        self._pod = pod
        self._streams = streams
        self._codec = spdy.Codec()
        self._connections: dict[str, _Connection] = {}
        self._by_data: dict[int, _Connection] = {}

    async def run(self) -> None:
        """Until the client has gone."""
        try:
            while content := await self._link.read():
                for event in self._codec.feed(content):
                    await self._take(event)
        finally:
            tasks = [c.task for c in self._connections.values() if c.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(stream, headers):
                await self._open(stream, dict(headers))
            case spdy.Data(stream, payload, is_final) if stream in self._by_data:
                await self._by_data[stream].outbox.put(payload, is_final=is_final)
            case spdy.Reset(stream) if stream in self._by_data:
                task = self._by_data[stream].task
                if task is not None:
                    task.cancel()
            case spdy.Ping(number):
                await self._link.write(spdy.ping(number))

    async def _open(self, stream: int, headers: dict[str, str]) -> None:
        kind, id_ = headers.get("streamtype"), headers.get("requestid", "")
        try:
            port = port_of(headers.get("port", ""))
        except BadRequest:
            port = 0
        known = self._connections.get(id_)
        full = known is None and len(self._connections) >= CONNECTIONS_MAX
        taken = known is not None and kind in ("data", "error") and getattr(known, kind)
        if kind not in ("data", "error") or not port or full or taken:
            await self._link.write(spdy.reset(stream, spdy.REFUSED_STREAM))
            return
        connection = known or self._connections.setdefault(id_, _Connection(port))
        setattr(connection, kind, stream)
        if kind == "data":
            self._by_data[stream] = connection
        await self._link.write(self._codec.reply(stream, {}))
        if connection.data and connection.error:
            connection.task = asyncio.create_task(self._forward(id_, connection))

    async def _forward(self, id_: str, connection: _Connection) -> None:
        words = b""
        try:
            try:
                pipe = await self._streams.connect(self._pod, connection.port)
            except OSError as error:
                words = unreachable(self._pod, connection.port, error).encode()
            else:
                await self._carry(connection, pipe)
            await self._link.write(
                spdy.data(connection.data, b"", is_final=True),
                spdy.data(connection.error, words, is_final=True),
            )
        except ConnectionError:
            return
        finally:
            await asyncio.shield(connection.outbox.drop())
            self._connections.pop(id_, None)
            self._by_data.pop(connection.data, None)

    async def _carry(self, connection: _Connection, pipe: Pipe) -> None:
        """Until the Pod has ended its side."""
        pouring = asyncio.create_task(pour(connection.outbox, pipe))
        try:
            while content := await _read(pipe):
                await self._link.write(spdy.data(connection.data, content))
        finally:
            pouring.cancel()
            pipe.close()


async def _read(pipe: Pipe) -> bytes:
    """A Pod that breaks off has ended its side too."""
    try:
        return await pipe.read()
    except OSError:
        return b""


class ChannelForwarder:
    """Channel 2i carries the data of the i-th port, channel 2i+1 what goes wrong with it."""

    def __init__(self, wire: Wire, pod: Object, streams: PodStreams, ports: list[int]) -> None:
        self._wire = wire
        self._pod = pod
        self._streams = streams
        self._ports = ports
        self._outboxes = [Outbox() for _ in ports]

    async def run(self) -> None:
        """Until the client has gone, or all ports have ended."""
        for number, port in enumerate(self._ports):
            for channel in (2 * number, 2 * number + 1):
                await self._send(channel, port.to_bytes(2, "little"))
        receiving = asyncio.create_task(self._receive())
        forwarding = asyncio.gather(*(self._forward(n) for n in range(len(self._ports))))
        try:
            await asyncio.wait((receiving, forwarding), return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                await self._wire.write(websocket.close_frame())
                await asyncio.wait((receiving,), timeout=GOODBYE_S)
        finally:
            receiving.cancel()
            forwarding.cancel()
            await asyncio.gather(receiving, forwarding, return_exceptions=True)

    async def _receive(self) -> None:
        reader = websocket.Reader()
        while content := await self._wire.read():
            for message in reader.feed(content):
                if message.opcode == websocket.CLOSE:
                    await self._wire.write(websocket.close_frame())
                    return
                if message.opcode == websocket.PING:
                    await self._wire.write(websocket.frame(websocket.PONG, message.payload))
                elif message.opcode in (websocket.BINARY, websocket.TEXT) and message.payload:
                    number, is_error = divmod(message.payload[0], 2)
                    if number < len(self._ports) and not is_error:
                        await self._outboxes[number].put(message.payload[1:])

    async def _forward(self, number: int) -> None:
        port, outbox = self._ports[number], self._outboxes[number]
        try:
            pipe = await self._streams.connect(self._pod, port)
        except OSError as error:
            await outbox.drop()
            await self._send(2 * number + 1, unreachable(self._pod, port, error).encode())
            return
        pouring = asyncio.create_task(pour(outbox, pipe))
        try:
            while content := await _read(pipe):
                await self._send(2 * number, content)
        finally:
            pouring.cancel()
            pipe.close()
            await outbox.drop()

    async def _send(self, channel: int, content: bytes) -> None:
        await self._wire.write(websocket.frame(websocket.BINARY, bytes((channel,)), content))
