"""The proxy as it runs: the real program, the real Envoy, servers and clients of every sort."""

import asyncio
import os
import signal
import ssl
import subprocess
import time
from datetime import UTC, datetime

import grpc
import pytest

from tests.authproxy.running import HOST, answers, free_port, running, write_certificate
from tests.authproxy.standin_api import standing_in
from tests.platform import descendants, eventually, processes
from tests.programs import program

pytestmark = pytest.mark.slow

ALICE = "Authorization: Bearer alice"


class Upstream:
    """An HTTP/1.1 server that is told by the path what to do, and remembers what it saw."""

    async def __aenter__(self):
        self.heads, self.pieces, self.gone = [], asyncio.Queue(), asyncio.Event()
        self.go_on = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode().lower())
                await self._answer(head.split()[1], reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()

    async def _answer(self, path, reader, writer):
        if path == b"/upload":
            while size := int(await reader.readline(), 16):
                await self.pieces.put(await reader.readexactly(size))
                await reader.readline()
            await reader.readline()
        if path == b"/stream":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                         b"transfer-encoding: chunked\r\n\r\n")  # fmt: skip
            for number in range(3):
                writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
                await writer.drain()
                await self.go_on.wait()
                self.go_on.clear()
            writer.write(b"0\r\n\r\n")
        elif path == b"/hang":
            await reader.readexactly(1)
        elif path == b"/slow":
            await self.go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
        elif path == b"/close":
            writer.close()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()


@pytest.fixture
def api():
    with standing_in() as api:
        api.users = {"alice": "alice", "bob": "bob"}
        api.allowed = {"alice"}
        yield api


async def curl(proxy, path, *words):
    """Status and body."""
    command = [program("curl"), "-sSk", "--max-time", "20", "-w", "\n%{http_code}", *words,
               f"https://{HOST}:{proxy.port}{path}"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, _ = await process.communicate()
    body, _, status = out.decode().rpartition("\n")
    return int(status), body


async def opened(proxy, head):
    context = proxy.client_context()
    context.set_alpn_protocols(["http/1.1"])
    reader, writer = await asyncio.open_connection(HOST, proxy.port, ssl=context)
    writer.write(head)
    await writer.drain()
    return reader, writer


def request(path, *headers, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *headers, "", ""]).encode()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_only_who_may_gets_through(tmp_path, api, version):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            assert (await curl(proxy, "/v2", version))[0] == 401
            assert (await curl(proxy, "/v2", version, "-H", "Authorization: Bearer x"))[0] == 401
            status, body = await curl(proxy, "/v2", version, "-H", "Authorization: Bearer bob")
            assert status == 403
            assert "bob may not get inferenceservices/digits" in body
            assert upstream.heads == []
            spoofed = ["-H", "X-Remote-User: root", "-H", "x-remote-groups: system:masters"]
            assert await curl(proxy, "/v2", version, "-H", ALICE, *spoofed) == (200, "hi")
            (head,) = upstream.heads
            assert "x-remote-user: alice" in head
            assert "x-remote-groups: system:authenticated|testers" in head
            assert "root" not in head
            assert "masters" not in head
            assert "authorization" not in head, "the server never sees the token"


async def test_two_tokens_are_none(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            both = ("-H", ALICE, "-H", "Authorization: Bearer bob")
            assert (await curl(proxy, "/", "--http1.1", *both))[0] == 401
            assert upstream.heads == []


async def test_bodies_flow_as_they_come_in_both_directions(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            chunked = "transfer-encoding: chunked"
            head = request("/upload", ALICE, chunked, method="POST")
            reader, writer = await opened(proxy, head)
            for piece in (b"one", b"two"):
                writer.write(b"3\r\n%s\r\n" % piece)
                await writer.drain()
                async with asyncio.timeout(10):
                    assert await upstream.pieces.get() == piece
            writer.write(b"0\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            writer.close()

            reader, writer = await opened(proxy, request("/stream", ALICE))
            for number in range(3):
                async with asyncio.timeout(10):
                    await reader.readuntil(b"data: %d\n\n" % number)
                upstream.go_on.set()
            writer.close()


async def test_a_client_that_goes_takes_its_request_along(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            _, writer = await opened(proxy, request("/hang", ALICE))
            async with asyncio.timeout(10):
                while not upstream.heads:
                    await asyncio.sleep(0.01)
                writer.transport.abort()
                await upstream.gone.wait()


async def test_a_server_that_is_not_there_is_said_to_be_so(tmp_path, api):
    with running(tmp_path, api, free_port()) as proxy:
        status, _ = await curl(proxy, "/", "-H", ALICE)
        assert status == 503
        reader, writer = await opened(proxy, request("/", ALICE))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert b"x-motorpool-never-answered: true" in head.lower()
        assert (await curl(proxy, "/"))[0] == 401, "and that only to who may"


async def test_headers_beyond_all_measure_are_refused(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            large = ("-H", f"x-large: {'x' * 70_000}")
            assert (await curl(proxy, "/", "--http1.1", "-H", ALICE, *large))[0] == 431
            assert upstream.heads == []
            assert (await curl(proxy, "/", "-H", ALICE))[0] == 200


async def test_callers_who_may_go_on_while_the_api_is_away(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            assert (await curl(proxy, "/", "-H", ALICE))[0] == 200
            api.stop()
            assert (await curl(proxy, "/", "-H", "Authorization: Bearer bob"))[0] == 503
            assert (await curl(proxy, "/", "-H", ALICE))[0] == 200
            api.start()
            assert (await curl(proxy, "/", "-H", "Authorization: Bearer bob"))[0] == 403


async def test_a_proxy_that_may_not_ask_lets_nobody_in(tmp_path, api):
    api.refuses_the_proxy = True
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            status, body = await curl(proxy, "/", "-H", ALICE)
            assert status == 503
            assert "the proxy's log says why" in body
            assert "the API refuses a TokenReview: 403" in proxy.log()
            assert upstream.heads == []


async def test_nothing_is_open_when_one_half_is_gone(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            (envoy,) = descendants(proxy.process.pid)
            os.kill(proxy.process.pid, signal.SIGSTOP)
            try:
                status, _ = await curl(proxy, "/", "-H", ALICE)
            finally:
                os.kill(proxy.process.pid, signal.SIGCONT)
            assert status == 503, "a check that does not answer lets nobody in"
            os.kill(proxy.process.pid, signal.SIGKILL)
            proxy.process.wait()
            gone = lambda: not any(line.startswith(f"{envoy} ") and line.split()[1:]  # noqa: E731
                                   for line in processes())  # fmt: skip
            eventually(gone, what="Envoy ends with its parent")
        with running(tmp_path, api, upstream.port) as proxy:
            (envoy,) = descendants(proxy.process.pid)
            os.kill(envoy, signal.SIGKILL)
            assert proxy.process.wait(20) == 1, "the container is started anew"
            assert upstream.heads == []


async def test_told_to_end_it_finishes_what_is_under_way(tmp_path, api):
    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            reader, writer = await opened(proxy, request("/slow", ALICE))
            async with asyncio.timeout(10):
                while not upstream.heads:
                    await asyncio.sleep(0.01)
            proxy.process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                proxy.process.wait(1)
            upstream.go_on.set()
            async with asyncio.timeout(10):
                assert (await reader.readuntil(b"late")).endswith(b"late")
            writer.close()
            assert await asyncio.to_thread(proxy.process.wait, 20) == 0


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path, api):
    from motorpool.base.certificates import Authority

    async with Upstream() as upstream:
        with running(tmp_path, api, upstream.port) as proxy:
            reader, writer = await opened(proxy, request("/slow", ALICE))
            authority = Authority.new("another", datetime.now(UTC))
            (tmp_path / "ca.crt").write_bytes(authority.certificate)
            assert not answers(proxy.port, proxy.client_context())
            write_certificate(tmp_path, authority)

            def shows_the_new_one():
                try:
                    answers_tls(proxy.port, proxy.client_context())
                except ssl.SSLError:
                    return False
                return True

            await asyncio.to_thread(
                eventually, shows_the_new_one, deadline_s=40, what="the new certificate"
            )
            upstream.go_on.set()
            async with asyncio.timeout(10):
                await reader.readuntil(b"late")  # what was open went on
            writer.close()
            assert proxy.process.poll() is None


def answers_tls(port, context):
    import socket

    with socket.create_connection((HOST, port), timeout=2) as plain:
        context.wrap_socket(plain).close()


async def test_grpc_passes_with_its_trailers(tmp_path, api):
    async def echo(value, context):
        metadata = dict(context.invocation_metadata())
        context.set_trailing_metadata([("seen", metadata.get("x-remote-user", ""))])
        return value

    async def several(value, _):
        for _ in range(3):
            yield value

    handlers = grpc.method_handlers_generic_handler(
        "test.Echo",
        {
            "Once": grpc.unary_unary_rpc_method_handler(echo),
            "Several": grpc.unary_stream_rpc_method_handler(several),
        },
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        with running(tmp_path, api, port, "--upstream-force-h2c") as proxy:
            authority = grpc.ssl_channel_credentials((tmp_path / "ca.crt").read_bytes())
            options = [("grpc.ssl_target_name_override", "svc.ns.svc"),
                       ("grpc.max_receive_message_length", -1)]  # fmt: skip
            address = f"{HOST}:{proxy.port}"
            async with grpc.aio.secure_channel(address, authority, options) as channel:
                once, several_of = (channel.unary_unary("/test.Echo/Once"),
                                    channel.unary_stream("/test.Echo/Several"))  # fmt: skip
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await once(b"x")
                assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
                bob, alice = ([("authorization", f"Bearer {name}")] for name in ("bob", "alice"))
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await once(b"x", metadata=bob)
                assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
                tensor = bytes(3 << 20)
                call = once(tensor, metadata=alice)
                assert await call == tensor
                assert dict(await call.trailing_metadata())["seen"] == "alice"
                assert [m async for m in several_of(b"y", metadata=alice)] == [b"y"] * 3
    finally:
        await server.stop(None)


async def test_a_large_body_is_never_held_whole(tmp_path, api):
    """256 MB go up; what Envoy may hold of it at once is a few megabytes."""
    received = 0

    async def swallow(reader, writer):
        nonlocal received
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        while received < length:
            received += len(await reader.read(1 << 20))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(swallow, HOST, 0)
    size = 256 << 20
    file = tmp_path / "tensor"
    with file.open("wb") as out:
        out.truncate(size)
    with running(tmp_path, api, server.sockets[0].getsockname()[1]) as proxy:
        (envoy,) = descendants(proxy.process.pid)
        before = memory_kb(envoy)
        upload = ("-H", ALICE, "-H", "Expect:", "-T", str(file))
        started = time.monotonic()
        assert (await curl(proxy, "/", *upload))[0] == 200
        assert received == size
        assert memory_kb(envoy) - before < 32_000, time.monotonic() - started
    server.close()


def memory_kb(pid):
    """The most that it ever held."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
