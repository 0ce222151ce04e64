"""Cluster addresses with the real Envoy, real servers and real clients."""

import asyncio
import contextlib
import os
import signal
import socket
import time

import httpx
import pytest
import yaml

from motorpool.api import core, discovery
from motorpool.router import places
from tests.router.objects import endpoint, endpoint_slice, route, service
from tests.router.running import publishing, routing, set_endpoints, status_is
from tests.router.traffic import Backend, fetch_until

pytestmark = pytest.mark.slow

A, B = "127.77.0.11", "127.77.0.12"
IRIS, OTHER = "127.128.77.1", "127.128.77.2"
PORT = 18080


class Echo:
    """A TCP server that says its name, then what it hears."""

    def __init__(self, address, port=8080):
        self.address, self.port = address, port

    async def __aenter__(self):
        self._writers = set()
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, reuse_address=True
        )
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        writer.write(f"{self.address}\n".encode())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()


class Talk:
    """An open connection to an Echo behind a Service."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self.name = ""

    async def hears(self):
        async with asyncio.timeout(5):
            return (await self._reader.readline()).decode().strip()

    async def echoes(self):
        self._writer.write(b"x\n")
        return await self.hears() == "x"

    async def close(self):
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


_open = []


@pytest.fixture(autouse=True)
async def closes():
    """What a test has opened ends with it."""
    yield
    while _open:
        await _open.pop().close()


async def talk(address, port=PORT):
    found = Talk(*await asyncio.open_connection(address, port))
    _open.append(found)
    found.name = await found.hears()
    if not found.name:
        raise ConnectionResetError("closed at once")
    return found


async def talk_until(address, port=PORT, accept=lambda found: True):
    """Connects until someone answers whom *accept* likes."""
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            found = await talk(address, port)
            if accept(found):
                return found
        assert time.monotonic() < deadline, f"nobody at {address}:{port}"
        await asyncio.sleep(0.01)


async def refused_until(address, port=PORT):
    """Until connections are refused or reset, each at once."""
    deadline = time.monotonic() + 10
    while True:
        try:
            await talk(address, port)
        except OSError:
            return
        assert time.monotonic() < deadline, f"still somebody at {address}:{port}"
        await asyncio.sleep(0.01)


async def test_a_service_is_reached_at_its_address_and_shares_its_connections(tmp_path):
    objects = [service("iris", IRIS), endpoint_slice("iris", endpoint(A), endpoint(B))]
    async with Echo(A), Echo(B), routing(tmp_path, *objects):
        await talk_until(IRIS)
        names = [(await talk(IRIS)).name for _ in range(20)]
        assert set(names) == {A, B}
        assert 5 <= names.count(A) <= 15


async def test_an_open_connection_survives_every_change_of_others_and_of_its_own(tmp_path):
    objects = [
        service("iris", IRIS), endpoint_slice("iris", endpoint(A)),
        service("other", OTHER), endpoint_slice("other", endpoint(B)),
    ]  # fmt: skip
    async with Echo(A), Echo(B), routing(tmp_path, *objects) as (_, client):
        connected = await talk_until(IRIS)
        other = await talk_until(OTHER)
        # Of its own: its pod is replaced, and is no longer ready.
        await set_endpoints(client, endpoint(B))
        await talk_until(IRIS, accept=lambda found: found.name == B)
        assert await connected.echoes()
        await set_endpoints(client)
        await refused_until(IRIS)
        assert await connected.echoes()
        # Of others: one is deleted, one is made, one has another port.
        await client.delete(core.SERVICE, "n", "other")
        await refused_until(OTHER)
        third = service("third", "127.128.77.3")
        await client.create(core.SERVICE, third)
        await client.create(discovery.ENDPOINT_SLICE, endpoint_slice("third", endpoint(A)))
        await talk_until("127.128.77.3")
        assert connected.name == A
        assert await connected.echoes()
        assert await other.echoes()


async def test_without_endpoints_a_connection_ends_at_once(tmp_path):
    async with Echo(A), routing(tmp_path, service("iris", IRIS)) as (_, client):
        await refused_until(IRIS)
        started = time.monotonic()
        with pytest.raises(OSError):
            await talk(IRIS)
        assert time.monotonic() - started < 1
        await client.create(discovery.ENDPOINT_SLICE, endpoint_slice("iris", endpoint(A)))
        assert (await talk_until(IRIS)).name == A


async def test_a_pod_that_does_not_accept_is_passed_over(tmp_path):
    objects = [service("iris", IRIS), endpoint_slice("iris", endpoint(A), endpoint(B))]
    async with Echo(B), routing(tmp_path, *objects):
        await talk_until(IRIS)
        assert {(await talk(IRIS)).name for _ in range(10)} == {B}


async def test_client_ip_affinity_keeps_a_client_with_its_pod(tmp_path):
    objects = [
        service("iris", IRIS, sessionAffinity="ClientIP"),
        endpoint_slice("iris", endpoint(A), endpoint(B)),
    ]
    async with Echo(A), Echo(B), routing(tmp_path, *objects):
        first = await talk_until(IRIS)
        assert {(await talk(IRIS)).name for _ in range(20)} == {first.name}


async def test_requests_of_http_pass_as_they_are(tmp_path):
    objects = [service("iris", IRIS), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects), httpx.AsyncClient() as client:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(httpx.TransportError):
                reply = await client.get(f"http://{IRIS}:{PORT}/v2")
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert f"host: {IRIS}:{PORT}" in reply.text.lower()
        assert "x-forwarded" not in reply.text.lower()


async def event_until(client):
    """The only event, once it is there."""
    async with asyncio.timeout(10):
        while True:
            events = [o for (kind, _), o in client.objects.items() if kind is core.EVENT]
            if events:
                (event,) = events
                return event
            await asyncio.sleep(0.01)


async def test_an_address_that_another_program_has_spoils_nothing_and_is_taken_once_free(tmp_path):
    objects = [
        service("iris", IRIS), endpoint_slice("iris", endpoint(A)),
        service("other", OTHER), endpoint_slice("other", endpoint(A)),
        route("web"), endpoint_slice("web", endpoint(B)),
    ]  # fmt: skip
    holder = socket.create_server((IRIS, PORT))
    async with Echo(A), Backend(B), routing(tmp_path, *objects) as (router, client):
        with holder:
            assert (await talk_until(OTHER)).name == A
            await fetch_until(router.http_port, "web.example.com", status_is(200))
            assert not router.is_served(IRIS, PORT)
            assert router.is_served(OTHER, PORT)
            assert router.health().message == ""
            event = await event_until(client)
            assert (event["reason"], event["involvedObject"]["name"]) == (
                "ClusterAddressInUse", "iris",
            )  # fmt: skip
            assert f"{IRIS}:{PORT} is in use by another program" in event["message"]
        assert (await talk_until(IRIS)).name == A
        assert router.is_served(IRIS, PORT)


async def test_an_address_lost_to_another_program_at_the_last_moment_spoils_nothing(
    tmp_path, monkeypatch
):
    objects = [
        service("iris", IRIS), endpoint_slice("iris", endpoint(A)),
        service("other", OTHER), endpoint_slice("other", endpoint(A)),
    ]  # fmt: skip
    monkeypatch.setattr(places, "can_bind", lambda *_: True)
    async with Echo(A), routing(tmp_path, *objects) as (router, client):
        assert (await talk_until(OTHER)).name == A
        assert (await talk_until(IRIS)).name == A
        with socket.create_server(("127.128.77.3", PORT)):
            await client.create(core.SERVICE, service("third", "127.128.77.3"))
            await client.create(discovery.ENDPOINT_SLICE, endpoint_slice("third", endpoint(A)))
            event = await event_until(client)
            assert event["reason"] == "ClusterAddressInUse"
            assert not router.is_served("127.128.77.3", PORT)
            await client.create(core.SERVICE, service("fourth", "127.128.77.4"))
            await client.create(discovery.ENDPOINT_SLICE, endpoint_slice("fourth", endpoint(A)))
            assert (await talk_until("127.128.77.4")).name == A
        assert await talk_until("127.128.77.3", accept=lambda found: found.name == A)
        assert router.health().message == ""


async def test_a_port_that_needs_a_privilege_is_not_served_and_said_once(tmp_path):
    ports = [{"name": "http", "port": 80}, {"name": "grpc", "port": PORT}]
    found = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 8080}]
    objects = [service("iris", IRIS, ports=ports), endpoint_slice("iris", endpoint(A), ports=found)]

    def may(port):
        return port >= 1024

    async with Echo(A), routing(tmp_path, *objects, may_listen=may) as (router, client):
        assert (await talk_until(IRIS)).name == A
        assert not router.is_served(IRIS, 80)
        await set_endpoints(client)
        await refused_until(IRIS)
        with pytest.raises(ConnectionRefusedError):
            await talk(IRIS, 80)
        event = await event_until(client)
        assert event["reason"] == "PortNotPermitted"
        assert "net.ipv4.ip_unprivileged_port_start=80" in event["message"]
        assert event["count"] == 1


async def test_services_outlive_the_control_plane_and_its_return_changes_nothing(tmp_path):
    objects = [service("iris", IRIS), endpoint_slice("iris", endpoint(A))]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    async with Echo(A), publishing(tmp_path / "data", file) as (process, _, pid):
        connected = await talk_until(IRIS)
        process.kill()
        await process.wait()
        assert await connected.echoes()
        assert (await talk(IRIS)).name == A
        async with routing(tmp_path / "data", *objects) as (router, client):
            assert router.health().pid == pid
            assert await connected.echoes()
            await client.delete(core.SERVICE, "n", "iris")
            await refused_until(IRIS)


async def test_envoys_death_gives_the_services_back(tmp_path):
    objects = [service("iris", IRIS), endpoint_slice("iris", endpoint(A))]
    async with Echo(A), routing(tmp_path, *objects) as (router, _):
        await talk_until(IRIS)
        os.kill(router.health().pid, signal.SIGKILL)
        await refused_until(IRIS)
        assert (await talk_until(IRIS)).name == A
