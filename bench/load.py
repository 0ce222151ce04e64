"""A load generator that costs little: a process of its own, one loop, raw sockets.

Each connection sends its request again as soon as the reply to the last one is whole. Reports
requests, latencies and the generator's own CPU, because it has the same cores as what it measures.
"""

import asyncio
import multiprocessing
import resource
import socket
import time
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvloop

from bench import load_grpc


@dataclass
class Load:
    rate: float
    p50_ms: float
    p99_ms: float
    cpu: float  # of one core


Request: TypeAlias = bytes | tuple[bytes, bytes]
"""Of HTTP/1.1 as it is sent; or of gRPC, as `load_grpc.call` makes it."""


def measured(port: int, request: Request, clients: int, seconds: float) -> Load:
    """Raises RuntimeError where a reply is no 200, or no message."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_generate, args=(port, request, clients, seconds, sending))
    process.start()
    sending.close()
    try:
        load: Load = receiving.recv()
    except EOFError:
        raise RuntimeError("the load generator failed") from None
    finally:
        process.join()
    return load


def _generate(port: int, request: Request, clients: int, seconds: float, result: Any) -> None:
    loop = uvloop.new_event_loop()
    taken, elapsed = loop.run_until_complete(_run(port, request, clients, seconds))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    taken.sort()
    result.send(
        Load(
            rate=len(taken) / elapsed,
            p50_ms=taken[len(taken) // 2] * 1e3,
            p99_ms=taken[len(taken) * 99 // 100] * 1e3,
            cpu=(usage.ru_utime + usage.ru_stime) / elapsed,
        )
    )


async def _run(
    port: int, request: Request, clients: int, seconds: float
) -> tuple[list[float], float]:
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    started = time.perf_counter()
    ended = [loop.create_future() for _ in range(clients)]
    make: Any = _Client if isinstance(request, bytes) else load_grpc.Client
    for each in ended:
        await loop.create_connection(
            lambda each=each: make(request, taken, started + seconds, each), "127.0.0.1", port
        )
    await asyncio.gather(*ended)
    return taken, time.perf_counter() - started


class _Client(asyncio.Protocol):
    def __init__(
        self, request: bytes, taken: list[float], until: float, ended: "asyncio.Future[None]"
    ) -> None:
        self._request = request
        self._taken = taken
        self._until = until
        self._ended = ended
        self._received = bytearray()
        self._size = 0

    def connection_made(self, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._size:
            self._size = size_of(self._received)
        if not is_whole(self._received, self._size):
            return
        now = time.perf_counter()
        self._taken.append(now - self._sent)
        del self._received[:]
        self._size = 0
        if now < self._until:
            self._send()
        else:
            self._ended.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionError("closed by the server"))

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


CHUNKED = -1


def size_of(reply: bytes | bytearray) -> int:
    """How long the whole reply will be, or CHUNKED; 0 where its head is not complete."""
    end = reply.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(reply[:end]).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(bytes(reply[:500]))
    # With the line's end before it: there is a header Inference-Header-Content-Length too.
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return end + 4 + int(rest.split(b"\r\n")[0]) if found else CHUNKED


def is_whole(reply: bytes | bytearray, size: int) -> bool:
    return reply.endswith(b"\r\n0\r\n\r\n") if size == CHUNKED else 0 < size <= len(reply)


def once(port: int, request: bytes, timeout_s: float = 60.0) -> bytes:
    """The body of one reply, from a server that may only be starting."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(request)
                received = bytearray(connection.recv(1 << 16))
                size = size_of(received)
                while not is_whole(received, size):
                    received += connection.recv(1 << 20)
                return bytes(received[received.find(b"\r\n\r\n") + 4 :])
        except (OSError, RuntimeError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
