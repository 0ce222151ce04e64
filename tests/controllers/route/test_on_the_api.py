"""The route controller on the API server itself: defaults, refusals, the store."""

import asyncio
import contextlib
import random

import pytest

from motorpool.api import core
from motorpool.api import route as route_api
from motorpool.api.errors import Invalid
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import now
from motorpool.controllers.route.reconcile import controller
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, Settings, run
from motorpool.store import Store


@pytest.fixture
async def client(tmp_path):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    client = LocalClient(registry)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai-demo"}}
    await client.create(core.NAMESPACE, namespace)
    yield client
    await store.close()


@contextlib.asynccontextmanager
async def reconciling(client):
    informers, events = Informers(client), EventRecorder(client)
    built = controller(Context(client, informers, events, Settings(base_domain="example.com")))
    tasks = [asyncio.ensure_future(work) for work in (informers.run(), run(built), events.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(check):
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.01)


def exposed(name="iris", **spec):
    """What `oc expose service` sends."""
    to = {"kind": "", "name": "iris", "weight": None}
    return {
        "kind": "Route",
        "apiVersion": "route.openshift.io/v1",
        "metadata": {"name": name, "namespace": "ai-demo", "creationTimestamp": None},
        "spec": {"to": to, "port": {"targetPort": 8888}, **spec},
        "status": {},
    }


async def admitted(client, name="iris"):
    found = await client.get(route_api.ROUTE, "ai-demo", name)
    ingress = found.get("status", {}).get("ingress")
    return ingress[0]["conditions"][0]["status"] if ingress else None


async def test_an_exposed_service_gets_a_host_and_is_admitted(client):
    async with reconciling(client):
        await client.create(route_api.ROUTE, exposed())
        await until(lambda: admitted(client))
        found = await client.get(route_api.ROUTE, "ai-demo", "iris")
        assert found["spec"] == {
            "host": "iris-ai-demo.apps.example.com",
            "port": {"targetPort": 8888},
            "to": {"kind": "Service", "name": "iris", "weight": 100},
            "wildcardPolicy": "None",
        }
        assert found["metadata"]["annotations"] == {"openshift.io/host.generated": "true"}
        (ingress,) = found["status"]["ingress"]
        assert ingress["host"] == "iris-ai-demo.apps.example.com"
        (condition,) = ingress["conditions"]
        assert condition.keys() == {"type", "status", "lastTransitionTime"}
        await client.create(route_api.ROUTE, exposed("other"))
        await until(lambda: admitted(client, "other"))
        settled = await client.get(route_api.ROUTE, "ai-demo", "iris")
        assert settled["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


async def test_of_two_claims_the_older_is_admitted_and_of_twins_the_one_with_the_lower_uid(client):
    async with reconciling(client):
        for name in ("iris", "twin"):
            await client.create(route_api.ROUTE, exposed(name, host="one.example.com"))
        routes = (await client.list(route_api.ROUTE)).items
        routes.sort(key=lambda r: (r["metadata"]["creationTimestamp"], r["metadata"]["uid"]))
        first, second = (route["metadata"]["name"] for route in routes)

        async def is_decided():
            return [await admitted(client, n) for n in (first, second)] == ["True", "False"]

        await until(is_decided)


async def test_a_host_that_a_user_sets_later_stays(client):
    async with reconciling(client):
        await client.create(route_api.ROUTE, exposed())
        await until(lambda: admitted(client))
        patch = {"spec": {"host": "mine.example.com"}}
        await client.patch(route_api.ROUTE, "ai-demo", "iris", patch)

        async def is_served():
            found = await client.get(route_api.ROUTE, "ai-demo", "iris")
            return found["status"]["ingress"][0]["host"] == "mine.example.com"

        await until(is_served)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"path": "v1"}, "spec.path"),
        ({"to": {"name": "iris", "weight": 300}}, "spec.to.weight"),
        ({"tls": {"termination": "both"}}, "spec.tls.termination"),
        ({"port": {}}, "spec.port.targetPort"),
        ({"alternateBackends": [{"name": c} for c in "abcd"]}, "spec.alternateBackends"),
    ],
)
async def test_a_mistake_is_refused(client, spec, says):
    with pytest.raises(Invalid, match=says):
        await client.create(route_api.ROUTE, exposed(**spec))
