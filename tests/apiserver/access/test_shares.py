"""Limits: how much runs at once, whose turn it is, and what becomes of who does not read."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import httpx
import pytest

from motorpool.api import core
from motorpool.api.errors import TooManyRequests
from motorpool.apiserver.access.shares import Limits, Shares
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import ADMIN, TokenAuthenticator
from motorpool.apiserver.serve import serve
from tests.apiserver.conftest import TOKEN
from tests.apiserver.objects import MAPS, refusal

HEADERS = {"authorization": f"Bearer {TOKEN}"}


class Work:
    """Requests that run until they are told to end."""

    def __init__(self, shares):
        self._shares = shares
        self.started = []
        self._ends = {}

    def ask(self, user, name):
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._run(user, name))

    async def _run(self, user, name):
        async with self._shares.running(user):
            self.started.append(name)
            await self._ends[name].wait()

    async def end(self, name):
        self._ends[name].set()
        await settled()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_users_take_turns():
    work = Work(Shares(Limits(running_max=1)))
    asked = [work.ask("eve", f"eve{number}") for number in range(3)]
    await settled()
    asked += [work.ask("bob", f"bob{number}") for number in range(2)]
    await settled()
    assert work.started == ["eve0"]
    for name in ("eve0", "eve1", "bob0", "eve2", "bob1"):
        assert work.started[-1] == name
        await work.end(name)
    await asyncio.gather(*asked)


async def test_one_user_never_takes_everything():
    work = Work(Shares(Limits(running_max=3, running_per_user_max=2)))
    asked = [work.ask("eve", f"eve{number}") for number in range(5)]
    await settled()
    asked.append(work.ask("bob", "bob"))
    await settled()
    assert work.started == ["eve0", "eve1", "bob"]
    for number in range(5):
        await work.end(f"eve{number}")
    await work.end("bob")
    await asyncio.gather(*asked)


async def test_who_waits_in_vain_is_told_to_come_again():
    shares = Shares(Limits(running_max=1, waiting_per_user_max=1, waiting_time_s=0.02))
    async with shares.running("eve"):
        waiting = asyncio.create_task(shares.running("eve").__aenter__())
        await settled()
        with pytest.raises(TooManyRequests):
            await shares.running("eve").__aenter__()
        with pytest.raises(TooManyRequests) as refused:
            await waiting
    assert refused.value.retry_after_s == 1
    async with shares.running("eve"):
        assert shares._running == {"eve": 1}
    assert not shares._running
    assert not shares._waiting


async def test_who_leaves_the_line_holds_nobody_up():
    work = Work(Shares(Limits(running_max=1)))
    first, gone, last = (work.ask(name, name) for name in ("a", "b", "c"))
    await settled()
    gone.cancel()
    await settled()
    await work.end("a")
    assert work.started == ["a", "c"]
    await work.end("c")
    await asyncio.gather(first, last)


async def test_a_refused_request_says_when_to_come_again(registry):
    limits = Limits(running_max=1, waiting_per_user_max=0)
    app = build_app(registry, tokens=TokenAuthenticator({TOKEN: ADMIN}), limits=limits)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=HEADERS
    ) as http:
        async with app._shares.running("motorpool-admin"):
            answer = await http.get("/api/v1/pods")
        assert (await http.get("/api/v1/pods")).status_code == 200
    text = "Too many requests, please try again later."
    assert refusal(answer) == (429, "TooManyRequests", text)
    assert answer.headers["retry-after"] == "1"


async def test_watches_are_bounded_per_user_and_in_all(registry, pki):
    limits = Limits(streams_max=2)
    tokens = TokenAuthenticator({TOKEN: ADMIN})
    verify = ssl.create_default_context(cafile=str(pki.ca))
    async with (
        serve(build_app(registry, tokens=tokens, limits=limits), "127.0.0.1", 0, pki) as serving,
        httpx.AsyncClient(base_url=serving.url, headers=HEADERS, verify=verify) as http,
        AsyncExitStack() as open_,
    ):
        for _ in range(2):
            stream = await open_.enter_async_context(http.stream("GET", f"{MAPS}?watch=true"))
            assert stream.status_code == 200
        assert (await http.get(f"{MAPS}?watch=true")).status_code == 429
        await stream.aclose()
        async with asyncio.timeout(30):
            while True:
                async with http.stream("GET", f"{MAPS}?watch=true") as again:
                    if again.status_code == 200:
                        break


async def test_per_user_streams_leave_room_for_others():
    shares = Shares(Limits(streams_per_user_max=1))
    with shares.streaming("eve"):
        with pytest.raises(TooManyRequests), shares.streaming("eve"):
            pass
        with shares.streaming("bob"):
            assert shares._streams.total() == 2
    assert not shares._streams


@pytest.mark.slow
async def test_who_does_not_read_is_hung_up_on(registry, local_client, pki):
    for number in range(12):
        metadata = {"name": f"big{number}", "namespace": "default"}
        data = {"x": "x" * 900_000}
        await local_client.create(core.CONFIG_MAP, {"metadata": metadata, "data": data})
    app = build_app(registry, tokens=TokenAuthenticator({TOKEN: ADMIN}))
    context = ssl.create_default_context(cafile=str(pki.ca))
    async with serve(app, "127.0.0.1", 0, pki, stall_s=1.0) as serving:
        host, port = serving.url.removeprefix("https://").split(":")
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

        def ask():
            raw.connect((host, int(port)))
            client = context.wrap_socket(raw, server_hostname=host)
            path = f"{MAPS}?watch=true&resourceVersion=0"
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            client.sendall(request.encode())
            return client

        client = await asyncio.to_thread(ask)
        async with asyncio.timeout(30):
            while not app._shares._streams:
                await asyncio.sleep(0.05)
            while app._shares._streams:
                await asyncio.sleep(0.05)
        client.close()
