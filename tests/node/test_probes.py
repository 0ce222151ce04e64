"""Probes against real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from motorpool.api.meta import Object
from motorpool.base.certificates import Authority
from motorpool.node.probes import Target, ask, port_of, watch
from tests.node.conftest import until

HOST = "127.64.200.7"


async def never(_: Sequence[str]) -> tuple[int, str]:
    raise AssertionError("nothing to execute")


def target(port: int = 0, **fields: Any) -> Target:
    return Target({"ports": [{"name": "http", "containerPort": port}]}, HOST, never, **fields)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Serves on the port that it gives, and ends when the last connection is closed."""
    connections = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        connections.remove(writer)

    async with await asyncio.start_server(connected, HOST, 0) as listening:
        yield listening.sockets[0].getsockname()[1]
        await until(lambda: not connections)


class Server:
    """Answers each connection with the same bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)

    def says(self, status: str, *headers: str) -> None:
        self.answer = "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with serving(server.serve) as server.port:
        yield server


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("200 OK", ""), ("204 No Content", ""), ("302 Found", ""),
        ("404 Not Found", "HTTP probe failed with statuscode: 404"),
        ("500 Oops", "HTTP probe failed with statuscode: 500"),
    ],
)  # fmt: skip
async def test_http_answers(server: Server, status: str, words: str) -> None:
    server.says(status)
    headers = [{"name": "Host", "value": "digits.example"}]
    probe = {"httpGet": {"path": "/ready", "port": "http", "httpHeaders": headers}}
    assert await ask(probe, target(server.port), 1) == words
    assert server.requests[0].startswith(b"GET /ready HTTP/1.1\r\nHost: digits.example\r\n")


async def test_https_asks_whether_and_not_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.new("nobody knows it", datetime.now(UTC))
    issued = authority.issue(["another.name"], datetime.now(UTC))
    pair = tmp_path / "pair.pem"
    pair.write_bytes(issued.certificate + issued.key)
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(pair)

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("the system's authorities take longer to load than a probe")

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", loads)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0, ssl=shown) as listening:
        port = listening.sockets[0].getsockname()[1]
        probe = {"httpGet": {"path": "/healthz", "port": port, "scheme": "HTTPS"}}
        assert await ask(probe, target(), 10) == ""


async def test_tcp_and_refusals(server: Server) -> None:
    assert await ask({"tcpSocket": {"port": server.port}}, target(), 1) == ""
    assert "refused" in (await ask({"tcpSocket": {"port": 1}}, target(), 1)).lower()
    assert await ask({"tcpSocket": {"port": "none"}}, target(), 1) == "couldn't find port: none"


async def test_a_silent_server_times_out() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with serving(silent) as port:
        words = await ask({"httpGet": {"port": port}}, target(), 0.1)
    assert words == "timed out after 0.1s"


async def test_grpc_health_over_one_connection() -> None:
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, stream]) + payload

    answers = {b"\x08\x01": "", b"\x08\x02": "service unhealthy"}
    for message, words in answers.items():

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes = message
        ) -> None:
            assert (await reader.readexactly(24)).startswith(b"PRI * HTTP/2.0")
            body = b"\x00" + len(message).to_bytes(4, "big") + message
            writer.write(frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x88") + frame(0, 0, 1, body))
            await reader.read()

        async with serving(serve) as port:
            said = await ask({"grpc": {"port": port}}, target(), 1)
        assert said.startswith(words)
        assert bool(said) == bool(words)


def test_named_ports_are_the_containers() -> None:
    assert port_of("http", {"ports": [{"name": "http", "containerPort": 8888}]}) == 8888
    assert port_of("80", {}) == 80


class Told:
    def __init__(self) -> None:
        self.verdicts: list[bool | None] = []
        self.words: list[str] = []
        self.changed = asyncio.Event()

    def __call__(self, verdict: bool | None, words: str) -> None:
        self.verdicts.append(verdict)
        self.words.append(words)
        self.changed.set()

    async def until(self, count: int) -> list[bool | None]:
        async with asyncio.timeout(30):
            while len(self.verdicts) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.verdicts


@contextlib.asynccontextmanager
async def watching(kind: Any, probe: Object, ask_code: list[int]) -> AsyncIterator[Told]:
    """Watches an exec probe whose exit code is ask_code[0]."""

    async def execute(_: Sequence[str]) -> tuple[int, str]:
        return ask_code[0], "no"

    told = Told()
    asked = Target({}, HOST, execute)
    task = asyncio.create_task(watch(kind, {"exec": {"command": ["x"]}, **probe}, asked, told))
    yield told
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_server_that_comes_up_is_seen_before_its_period() -> None:
    code = [1]
    async with watching("readiness", {"periodSeconds": 60}, code) as told:
        await asyncio.sleep(0.05)
        assert told.verdicts == []
        code[0] = 0
        assert await told.until(1) == [True]


async def test_readiness_falls_at_the_threshold_and_comes_back() -> None:
    code = [0]
    timing = {"periodSeconds": 0.05, "failureThreshold": 2}
    async with watching("readiness", timing, code) as told:
        await told.until(1)
        code[0] = 1
        assert (await told.until(3))[:3] == [True, None, False]
        code[0] = 0
        while told.verdicts[-1] is not True:
            await told.until(len(told.verdicts) + 1)


async def test_liveness_counts_from_the_first_failure() -> None:
    timing = {"periodSeconds": 0.05, "failureThreshold": 3}
    async with watching("liveness", timing, [1]) as told:
        assert (await told.until(3))[:3] == [None, None, False]
        assert told.words[0] == "no"


async def test_success_threshold() -> None:
    async with watching("readiness", {"successThreshold": 3}, [0]) as told:
        assert await told.until(1) == [True]
