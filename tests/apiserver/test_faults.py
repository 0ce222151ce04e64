"""An informer over HTTPS, while everything between it and the server fails."""

import asyncio
import contextlib
import json
import time
from dataclasses import replace

import httpx
import pytest

from motorpool.api import core
from motorpool.client import http as client_http
from motorpool.client.http import HttpClient
from motorpool.client.kubeconfig import read_kubeconfig
from motorpool.loop.informer import Informer
from tests.apiserver.conftest import TOKEN
from tests.apiserver.objects import config_map
from tests.faulty_transport import Fault, Faulty, broken, cut, is_list, is_watch, page, status

DEADLINE_S = 30.0


def gone():
    error = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
             "reason": "Expired", "message": "too old resource version"}  # fmt: skip
    return json.dumps({"type": "ERROR", "object": error}).encode() + b"\n"


FAULTS = {
    "a watch that begins too far back": Fault("410", is_watch, status(410, "Expired")),
    "a watch that falls behind": Fault("gone", is_watch, cut(0, gone())),
    "a watch cut in the middle of a line": Fault("cut", is_watch, cut(40)),
    "a watch that breaks in the middle of a line": Fault(
        "break", is_watch, cut(40, httpx.RemoteProtocolError)
    ),
    "a watch without a sign of life": Fault("silent", is_watch, cut(0, httpx.ReadTimeout)),
    "a watch that speaks another language": Fault("page", is_watch, cut(0, b"<html>\n")),
    "a watch of something else": Fault("other", is_watch, cut(0, b'{"type": "ADDED"}\n')),
    "a watch refused by a proxy": Fault("proxy", is_watch, page(502)),
    "a list refused by a proxy": Fault("proxy", is_list, page(503)),
    "a list that a proxy answers": Fault("login", is_list, page(200, "<html>log in</html>")),
    "a list refused for a while": Fault("500", is_list, status(500, "InternalError")),
    "a connection that is refused": Fault("connect", is_list, broken(httpx.ConnectError)),
    "a connection that breaks": Fault("read", is_list, broken(httpx.ReadError)),
    "a server that shuts down": Fault("503", is_watch, status(503, "ServiceUnavailable")),
    "a token that is refused once": Fault("401", is_watch, status(401, "Unauthorized")),
}


@contextlib.asynccontextmanager
async def informed(kubeconfig, *faults):
    access = read_kubeconfig(kubeconfig)
    transport = Faulty(httpx.AsyncHTTPTransport(verify=access.tls), faults)
    async with HttpClient(access, transport=transport) as client:
        informer = Informer(client, core.CONFIG_MAP)
        running = asyncio.create_task(informer.run())
        try:
            yield informer, transport
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until_same(informer, local_client):
    async with asyncio.timeout(DEADLINE_S):
        while True:
            there = (await local_client.list(core.CONFIG_MAP)).items
            wanted = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in there}
            have = {
                o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in informer.list()
            }
            if wanted == have:
                return
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
async def test_an_informer_survives(name, kubeconfig, local_client, monkeypatch):
    monkeypatch.setattr(client_http, "WATCH_TIME_S", 1)  # a watch ends, and the fault comes
    await local_client.create(core.CONFIG_MAP, config_map("before"))
    fault = replace(FAULTS[name])
    async with informed(kubeconfig, fault) as (informer, transport):
        await asyncio.wait_for(informer.synced(), DEADLINE_S)
        for number in range(3):
            await local_client.create(core.CONFIG_MAP, config_map(f"during-{number}"))
        await local_client.delete(core.CONFIG_MAP, "default", "before")
        await until_same(informer, local_client)
        assert transport.met == [fault.name]
        await local_client.create(core.CONFIG_MAP, config_map("after"))
        await until_same(informer, local_client)


@pytest.mark.slow
async def test_a_server_that_asks_for_time_is_given_it(kubeconfig, local_client):
    busy = Fault("429", is_list, status(429, "TooManyRequests", after=1))
    begin = time.monotonic()
    async with informed(kubeconfig, busy) as (informer, _):
        await asyncio.wait_for(informer.synced(), DEADLINE_S)
    assert time.monotonic() - begin >= 1.0, "not the 0.2 seconds of its own back-off"


@pytest.mark.slow
async def test_a_server_that_fails_every_watch_is_not_listed_without_end(kubeconfig):
    broken_watches = [Fault(f"{n}", is_watch, status(500, "InternalError")) for n in range(50)]
    async with informed(kubeconfig, *broken_watches) as (informer, transport):
        await asyncio.wait_for(informer.synced(), DEADLINE_S)
        await asyncio.sleep(1.5)
        assert len(transport.met) <= 4, "each time it waits twice as long"


@pytest.mark.slow
async def test_a_token_that_was_replaced_is_read_again_at_once(kubeconfig, local_client, tmp_path):
    file = tmp_path / "token"
    file.write_text("an old one")
    access = replace(read_kubeconfig(kubeconfig), token="", token_file=file)
    async with HttpClient(access) as client:
        with pytest.raises(client_http.ApiError, match="Unauthorized"):
            await client.list(core.CONFIG_MAP)
        file.write_text(TOKEN)
        assert (await client.list(core.CONFIG_MAP)).resource_version
