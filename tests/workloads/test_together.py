"""All workload controllers on the real API server and store, with a node that the test plays."""

import asyncio
import contextlib
import time

import pytest

from motorpool import workloads
from motorpool.api import apps, core, discovery
from motorpool.api.conditions import condition_of, is_true
from motorpool.api.meta import at, is_deleting, key_of
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, run
from motorpool.store import Store
from tests.workloads.objects import ready_condition, template

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1"},
    "status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "1000"}},
}


class PlayedNode:
    """Starts what is bound to it at once, and removes what has to go."""

    def __init__(self, context):
        self._client = context.client
        self._changed = asyncio.Queue()
        context.informers(core.POD).subscribe(lambda change: self._changed.put_nowait(change.new))
        self._addresses = 0

    async def run(self):
        while True:
            pod = await self._changed.get()
            if pod is not None and at(pod, "spec", "nodeName"):
                await self._treat(pod)

    async def _treat(self, pod):
        if is_deleting(pod):
            with contextlib.suppress(Exception):
                await self._client.delete(core.POD, *key_of(pod), grace_s=0)
        elif not is_true(pod, "Ready"):
            self._addresses += 1
            ip = f"127.64.{self._addresses // 250}.{self._addresses % 250 + 1}"
            conditions = [*at(pod, "status", "conditions", default=[]), ready_condition(True)]
            status = {
                "phase": "Running", "conditions": conditions, "podIP": ip, "podIPs": [{"ip": ip}],
            }  # fmt: skip
            patch = {"status": status}
            await self._client.patch(core.POD, *key_of(pod), patch, subresource="status")


class Platform:
    def __init__(self, client, context):
        self.client = client
        self.context = context

    def all(self, kind, namespace=""):
        return self.context.informers(kind).list(namespace)

    async def apply(self, kind, obj):
        return await self.client.apply(kind, obj, manager="test")

    async def register_node(self):
        created = await self.client.create(core.NODE, NODE)
        node = {**created, "status": NODE["status"]}
        await self.client.update(core.NODE, node, subresource="status")

    async def revision(self):
        return (await self.client.list(core.NAMESPACE)).resource_version

    async def until(self, condition, timeout_s=30):
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def started(path):
    store = Store.open(path / "state.db")
    registry = Registry(store)
    await registry.bootstrap()
    client = LocalClient(registry)
    context = Context(client, Informers(client), EventRecorder(client))
    controllers = workloads.controllers(context, ca_certificate="PEM")
    node = PlayedNode(context)
    coroutines = [context.informers.run(), context.events.run(), node.run(), *map(run, controllers)]
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        yield Platform(client, context)
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


@pytest.fixture
async def platform(tmp_path):
    async with started(tmp_path) as platform:
        await platform.register_node()
        yield platform


def deployment(name, namespace="default", image="app:1", replicas=1):
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels, image),
        },
    }


def service(name, namespace="default"):
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def images(platform):
    return {at(pod, "spec", "containers")[0]["image"] for pod in platform.all(core.POD)}


def ready_endpoints(platform, namespace=""):
    return sum(
        endpoint["conditions"]["ready"]
        for each in platform.all(discovery.ENDPOINT_SLICE, namespace)
        for endpoint in each.get("endpoints") or ()
    )


def is_rolled_out(platform, name="web", namespace="default"):
    found = platform.context.informers(apps.DEPLOYMENT).get(namespace, name)
    status = at(found, "status", default={})
    if not status.get("conditions"):
        return False
    return (
        status.get("observedGeneration") == at(found, "metadata", "generation")
        and status.get("availableReplicas")
        == status.get("updatedReplicas")
        == status.get("replicas")
        == at(found, "spec", "replicas")
        and condition_of(found, "Progressing")["reason"] == "NewReplicaSetAvailable"
    )


async def test_from_apply_to_endpoints_and_back_to_nothing(platform):
    await platform.apply(core.SERVICE, service("web"))
    await platform.apply(apps.DEPLOYMENT, deployment("web", replicas=3))
    await platform.until(lambda: is_rolled_out(platform))
    await platform.until(lambda: ready_endpoints(platform) == 3)

    await platform.apply(apps.DEPLOYMENT, deployment("web", image="app:2", replicas=3))
    await platform.until(lambda: images(platform) == {"app:2"} and is_rolled_out(platform))
    assert len(platform.all(apps.REPLICA_SET)) == 2

    await platform.client.delete(apps.DEPLOYMENT, "default", "web")
    await platform.client.delete(core.SERVICE, "default", "web")
    for kind in (apps.REPLICA_SET, core.POD, discovery.ENDPOINT_SLICE):
        await platform.until(lambda kind=kind: not platform.all(kind))


async def test_a_namespace_goes_with_all_that_runs_in_it(platform):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}
    await platform.client.create(core.NAMESPACE, namespace)
    accounts = platform.context.informers(core.SERVICE_ACCOUNT)
    await platform.until(lambda: accounts.get("demo", "default") is not None)
    await platform.apply(core.SERVICE, service("web", "demo"))
    await platform.apply(apps.DEPLOYMENT, deployment("web", "demo", replicas=2))
    await platform.until(lambda: is_rolled_out(platform, namespace="demo"))

    await platform.client.delete(core.NAMESPACE, "", "demo")

    namespaces = platform.context.informers(core.NAMESPACE)
    await platform.until(lambda: namespaces.get("", "demo") is None)
    for kind in (apps.DEPLOYMENT, apps.REPLICA_SET, core.POD, core.EVENT, core.CONFIG_MAP):
        assert (await platform.client.list(kind, "demo")).items == []


async def test_foreground_deletion_of_a_deployment_ends_with_the_deployment(platform):
    await platform.apply(apps.DEPLOYMENT, deployment("web", replicas=2))
    await platform.until(lambda: is_rolled_out(platform))

    await platform.client.delete(apps.DEPLOYMENT, "default", "web", propagation="Foreground")

    await platform.until(lambda: not platform.all(apps.DEPLOYMENT))
    assert (await platform.client.list(apps.REPLICA_SET)).items == []
    assert (await platform.client.list(core.POD)).items == []


async def steady(platform):
    """The revision, once it stays what it is for some turns; it must come to that."""
    async with asyncio.timeout(30):
        before, same = await platform.revision(), 0
        while same < 10:
            await asyncio.sleep(0.01)
            now = await platform.revision()
            before, same = now, same + 1 if now == before else 0
    return before


async def test_nothing_is_written_once_all_is_true_nor_after_a_restart(tmp_path):
    async with started(tmp_path) as platform:
        await platform.register_node()
        await platform.apply(core.SERVICE, service("web"))
        await platform.apply(apps.DEPLOYMENT, deployment("web"))
        await platform.until(lambda: is_rolled_out(platform) and ready_endpoints(platform) == 1)
        await platform.until(lambda: len(platform.all(core.CONFIG_MAP)) == 4)
        before = await steady(platform)

    async with started(tmp_path) as platform:
        await platform.context.informers.synced()
        assert await steady(platform) == before
        assert is_rolled_out(platform)


@pytest.mark.slow
async def test_200_deployments_at_once_are_not_quadratic(platform):
    took_s = {}
    for count in (50, 200):
        started = time.process_time()
        for number in range(count):
            await platform.apply(core.SERVICE, service(f"web{count}-{number}"))
            await platform.apply(apps.DEPLOYMENT, deployment(f"web{count}-{number}"))
        names = [f"web{count}-{number}" for number in range(count)]
        await platform.until(lambda names=names: all(is_rolled_out(platform, n) for n in names), 60)
        took_s[count] = time.process_time() - started

    assert took_s[200] / 200 < 3 * took_s[50] / 50
