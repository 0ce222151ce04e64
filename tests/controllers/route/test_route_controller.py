"""Given these Routes, expect those: every case is a pair of files in `cases/`."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from motorpool.api import core
from motorpool.api import route as route_api
from motorpool.api.meta import copy_of, key_of, sorted_by_name
from motorpool.controllers.route.ports import port_problem
from motorpool.controllers.route.reconcile import controller
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, Settings, run
from tests.memory_client import MemoryClient

CASES = Path(__file__).parent / "cases"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@contextlib.asynccontextmanager
async def reconciling(client):
    informers = Informers(client)
    events = EventRecorder(client, lambda: NOW)
    settings = Settings(base_domain="example.com")
    context = Context(client, informers, events, settings, lambda: NOW)
    built = controller(context)
    tasks = [asyncio.ensure_future(work) for work in (informers.run(), events.run(), run(built))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def routes(client):
    return sorted_by_name(o for (kind, _), o in client.objects.items() if kind == route_api.ROUTE)


def is_settled(client):
    return all(r["spec"].get("host") or r["spec"].get("subdomain") for r in routes(client)) and all(
        r.get("status", {}).get("ingress") for r in routes(client)
    )


def admitted(client, name, namespace="n"):
    ingress = client.kept(route_api.ROUTE, namespace, name).get("status", {}).get("ingress")
    return ingress[0]["conditions"][0]["status"] if ingress else None


def route(name, created=1, namespace="n", **spec):
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    metadata["creationTimestamp"] = f"2026-01-01T00:00:{created:02d}Z"
    to = {"kind": "Service", "name": "iris", "weight": 100}
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": metadata,
        "spec": {"to": to, "wildcardPolicy": "None", **spec},
    }


@pytest.mark.parametrize("case", sorted(CASES.glob("*.in.yaml")), ids=lambda p: p.name[:-8])
async def test_routes_get_their_host_and_status(case, golden):
    client = MemoryClient(*yaml.safe_load_all(case.read_text()))
    async with reconciling(client):
        await until(lambda: is_settled(client))
    documents = []
    for found in routes(client):
        found = copy_of(found)
        found["metadata"].pop("resourceVersion")
        documents.append(found)
    golden.check(case.with_name(case.name.replace(".in.", ".out.")), documents)


async def test_a_second_reconcile_writes_nothing():
    client = MemoryClient(route("iris"))
    async with reconciling(client):
        await until(lambda: is_settled(client))
    writes = list(client.writes)
    assert writes == ["patch Route iris", "update status Route iris"]
    async with reconciling(client):
        await client.create(route_api.ROUTE, route("last", host="last.example.com"))
        await until(lambda: is_settled(client))
    assert client.writes[len(writes) :] == ["create Route last", "update status Route last"]


async def test_when_the_winner_goes_the_next_oldest_is_admitted():
    shared = {"host": "iris.example.com"}
    client = MemoryClient(route("a", 1, **shared), route("b", 2, **shared), route("c", 3, **shared))
    async with reconciling(client):
        await until(lambda: is_settled(client))
        assert [admitted(client, name) for name in "abc"] == ["True", "False", "False"]
        await client.delete(route_api.ROUTE, "n", "a")
        await until(lambda: admitted(client, "b") == "True")
        await client.patch(route_api.ROUTE, "n", "b", {"spec": {"host": "other.example.com"}})
        await until(lambda: admitted(client, "c") == "True")
        assert admitted(client, "b") == "True"


async def test_a_refusal_is_also_an_event():
    shared = {"host": "iris.example.com"}
    client = MemoryClient(route("a", 1, **shared), route("b", 2, **shared))

    def events():
        return [o for (kind, _), o in client.objects.items() if kind == core.EVENT]

    async with reconciling(client):
        await until(events)
    (event,) = events()
    assert event["reason"] == "HostAlreadyClaimed"
    assert event["type"] == "Warning"
    assert event["message"] == "route a already exposes iris.example.com and is older"
    assert event["involvedObject"]["name"] == "b"


async def test_entries_of_other_routers_stay():
    other = {"routerName": "shard", "host": "iris.shard.example.com"}
    given = {**route("iris", host="iris.example.com"), "status": {"ingress": [other]}}
    client = MemoryClient(given)
    async with reconciling(client):
        await until(lambda: len(client.writes) == 1)
    ingress = client.kept(route_api.ROUTE, *key_of(given))["status"]["ingress"]
    assert [entry["routerName"] for entry in ingress] == ["default", "shard"]


def service(**port):
    metadata = {"name": "iris", "namespace": "n"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}}


@pytest.mark.parametrize(
    ("target", "port", "listed"),
    [
        (80, {"port": 80, "targetPort": 8080, "name": "http"}, "http or 8080"),
        ("grpc", {"port": 80, "targetPort": 8080, "name": "http"}, "http or 8080"),
        ("http", {"port": 80, "targetPort": 8888}, "8888"),
        (8080, {"port": 80, "targetPort": 8080, "name": "http"}, ""),
        ("8080", {"port": 8080}, ""),
        ("http", {"port": 80, "name": "http"}, ""),
        (8080, {"port": 80, "targetPort": "h1"}, ""),
        (None, {"port": 80}, ""),
    ],
)
def test_a_target_port_that_no_pod_has_is_named_with_those_that_there_are(target, port, listed):
    spec = {} if target is None else {"port": {"targetPort": target}}
    problem = port_problem(route("r", **spec), [service(**port)])
    assert problem.endswith(f"one of: {listed}") if listed else problem == ""
    assert port_problem(route("r", **spec), []) == ""


async def test_a_wrong_target_port_is_told_once_when_the_service_comes():
    client = MemoryClient(route("iris", port={"targetPort": 80}))

    def events():
        return [o for (kind, _), o in client.objects.items() if kind == core.EVENT]

    async with reconciling(client):
        await until(lambda: is_settled(client))
        assert events() == []
        await client.create(core.SERVICE, service(port=80, targetPort=8080))
        await until(events)
        await client.patch(core.SERVICE, "n", "iris", {"metadata": {"labels": {"a": "b"}}})
        await client.create(route_api.ROUTE, route("last", host="last.example.com"))
        await until(lambda: is_settled(client))
    (event,) = events()
    assert (event["reason"], event["count"]) == ("TargetPortNotFound", 1)
    assert event["involvedObject"]["name"] == "iris"
