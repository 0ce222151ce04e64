"""Real servers and real clients on loopback, as far as the router's tests need them."""

import asyncio
import contextlib
import time
from typing import NamedTuple


class Reply(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        return next((v for k, v in self.headers if k == name), None)


async def read_reply(reader):
    status_line = await reader.readline()
    if not status_line:
        raise ConnectionResetError("no answer")
    headers = []
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers.append((name.strip().lower(), value.strip()))
    reply = Reply(int(status_line.split()[1]), headers, b"")
    if reply.header("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(reply.header("content-length") or 0))
    return reply._replace(body=body)


def request_bytes(host, path="/", *, headers=(), body=b"", method="GET"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def fetch(port, host, path="/", *, ssl=None, **more):
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=ssl, server_hostname=host if ssl else None
    )
    try:
        writer.write(request_bytes(host, path, **more))
        async with asyncio.timeout(30):
            return await read_reply(reader)
    finally:
        writer.close()


async def fetch_until(port, host, accept, path="/", **more):
    """Asks until *accept* likes the reply."""
    deadline = time.monotonic() + 30
    while True:
        reply = await fetch(port, host, path, **more)
        if accept(reply):
            return reply
        assert time.monotonic() < deadline, f"still {reply}"
        await asyncio.sleep(0.005)


class Backend:
    """An HTTP/1.1 server that says who it is and what it was asked.

    `/slow` answers after *slow_s*; `/stream` in pieces; `/count` with the size of the body.
    """

    def __init__(self, address, port=8080, slow_s=0.5):
        self.address, self.port, self.slow_s = address, port, slow_s
        self.requests = 0

    async def __aenter__(self):
        self._writers = set()
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    await self._answer(head, reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head, reader, writer):
        self.requests += 1
        path = head.split()[1].decode()
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length")
            ),
            0,
        )
        if b"chunked" in head.lower():
            size = 0
            while piece := int(await reader.readline(), 16):
                await reader.readexactly(piece + 2)
                size += piece
            await reader.readline()
        else:
            size = length
            while length:
                length -= len(await reader.read(min(length, 1 << 20)))
        if path == "/slow":
            await asyncio.sleep(self.slow_s)
        if path == "/stream":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(3):
                writer.write(b"2\r\n%d\n\r\n" % number)
                await writer.drain()
                await asyncio.sleep(0.2)
            writer.write(b"0\r\n\r\n")
            return
        body = f"{self.address} {size}\n".encode() + head
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


class Load:
    """Clients that keep asking on kept connections, and count what fails."""

    def __init__(self, port, host, clients=8, path="/", body=b""):
        self._port, self._clients = port, clients
        method = "POST" if body else "GET"
        self._request = request_bytes(host, path, body=body, method=method)
        self.served = 0
        self.failures = []

    async def __aenter__(self):
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def more(self, count):
        """Returns once that many further requests were served or one has failed."""
        wanted = self.served + count
        async with asyncio.timeout(30):
            while self.served < wanted and not self.failures:
                await asyncio.sleep(0.005)

    async def _ask(self):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while True:
                    writer.write(self._request)
                    reply = await read_reply(reader)
                    if reply.status == 200:
                        self.served += 1
                    else:
                        self.failures.append(reply)
                    await asyncio.sleep(0.001)
                    if reply.header("connection") == "close":
                        break
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.failures.append(error)
            finally:
                writer.close()
