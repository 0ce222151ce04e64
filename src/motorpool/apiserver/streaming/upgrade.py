"""Connections that leave HTTP: what uvicorn's protocol lacks for them.

A request that asks for an upgrade runs through the application like any other, so it is
authenticated and may be refused with an ordinary answer. Only when the application takes the
connection (`Upgrade.take`) does it stop to be HTTP. ASGI's own websockets would not do: SPDY is
none, and a refusal would lose its Status.

Rules: what the peer sends is read only as fast as it is consumed; what is sent waits for the peer.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from motorpool.apiserver.http import UPGRADE_EXTENSION

UNREAD_BYTES_MAX = 256 * 1024


class Wire:
    """The bytes of a connection that has left HTTP."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._ended = False
        self._news = asyncio.Event()

    async def read(self) -> bytes:
        """What has arrived; b"" once the peer has gone."""
        while not self._unread and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self._unread:
            return b""
        content = b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return content

    async def write(self, *parts: bytes) -> None:
        """Raises ConnectionResetError once the peer has gone."""
        if not self._ended and not self._transport.is_closing():
            self._transport.write(b"".join(parts))
            if self._flow.write_paused:
                await self._flow.drain()
        if self._ended or self._transport.is_closing():
            raise ConnectionResetError("the client went away")

    def close(self) -> None:
        """Sends what was written, then closes."""
        self._transport.close()

    # What the HTTP server's protocol tells.

    def arrived(self, content: bytes) -> None:
        if not content:
            return
        self._unread.append(content)
        self._size += len(content)
        if self._size > UNREAD_BYTES_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._news.set()

    def ended(self) -> None:
        self._ended = True
        self._news.set()


class Upgrade:
    """A request's way out of HTTP."""

    def __init__(self, protocol: "Protocol") -> None:
        self._protocol = protocol

    def take(self, headers: Sequence[tuple[str, str]]) -> Wire:
        """Answers 101 with *headers*, and gives the connection."""
        return self._protocol.take(headers)


class Protocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wire: Wire | None = None
        self._taken = False

    def on_headers_complete(self) -> None:
        upgrades = self._get_upgrade() is not None
        if upgrades:
            extensions: dict[str, Any] = {UPGRADE_EXTENSION: Upgrade(self)}
            self.scope["extensions"] = extensions
        super().on_headers_complete()
        if upgrades:
            # What follows the request may not be HTTP, so no other request can.
            self.cycle.keep_alive = False
            self._wire = Wire(self.transport, self.flow)

    def data_received(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.arrived(data)
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._wire is not None:
                self._wire.arrived(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._wire is not None:
            self._wire.ended()

    def take(self, headers: Sequence[tuple[str, str]]) -> Wire:
        if self._wire is None or self.cycle.response_started:
            raise RuntimeError("this connection cannot leave HTTP any more")
        # For uvicorn the request is answered.
        self.cycle.response_started = self.cycle.response_complete = True
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if self.transport.is_closing():
            self._wire.ended()
        return self._wire
