"""The load generator for gRPC: `load`'s, with as much of HTTP/2 as one unary call at a time needs.

A gRPC client in Python costs as much as the servers that are measured. Requests carry their
headers as literals, so that each is the same bytes but for its stream's number; of a reply only
frames are looked at: a message must have come, as long as the first one, before the stream ends.
"""

import asyncio
import socket
import struct
import time
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LARGE = 2**30
REPLENISH = 2**20


def call(path: str, message: bytes) -> tuple[bytes, bytes]:
    """The headers and the content of a request: what `Client` sends."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields.items())
    return block, struct.pack(">BI", 0, len(message)) + message


def _literal(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


class Client(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(
        self,
        request: tuple[bytes, bytes],
        taken: list[float],
        until: float,
        ended: "asyncio.Future[None]",
    ) -> None:
        self._block, self._content = request
        self._taken = taken
        self._until = until
        self._ended = ended
        self._received = bytearray()
        self._stream = -1
        self._got = self._expected = self._unreported = 0

    def connection_made(self, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        window = struct.pack(">HI", 4, LARGE)
        transport.write(PREFACE + frame(SETTINGS, 0, 0, window))
        transport.write(frame(WINDOW, 0, 0, struct.pack(">I", LARGE)))
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        place = 0
        while len(received) - place >= 9:
            size = int.from_bytes(received[place : place + 3], "big")
            if len(received) - place - 9 < size:
                break
            kind, flags = received[place + 3], received[place + 4]
            self._frame(kind, flags, received[place + 9 : place + 9 + size])
            place += 9 + size
        del received[:place]

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionError("closed by the server"))

    def _frame(self, kind: int, flags: int, content: bytearray) -> None:
        if kind == DATA:
            self._got += len(content)
            self._unreported += len(content)
        elif kind == SETTINGS and not flags & ACK:
            self._transport.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, bytes(content)))
        elif kind in (RESET, GOAWAY):
            self._fail(f"frame of kind {kind}: {bytes(content)!r}")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._ended_one()

    def _ended_one(self) -> None:
        self._expected = self._expected or self._got
        if not self._got or self._got != self._expected:
            self._fail(f"a reply of {self._got} bytes instead of {self._expected}")
            return
        now = time.perf_counter()
        self._taken.append(now - self._sent)
        if self._unreported > REPLENISH:
            self._transport.write(frame(WINDOW, 0, 0, struct.pack(">I", self._unreported)))
            self._unreported = 0
        if now < self._until:
            self._send()
        elif not self._ended.done():
            self._ended.set_result(None)
            self._transport.close()

    def _fail(self, text: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(text))
        self._transport.close()

    def _send(self) -> None:
        self._stream += 2
        self._got = 0
        self._sent = time.perf_counter()
        self._transport.write(
            frame(HEADERS, END_HEADERS, self._stream, self._block)
            + frame(DATA, END_STREAM, self._stream, self._content)
        )
