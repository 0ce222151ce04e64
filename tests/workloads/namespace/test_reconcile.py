import pytest

from motorpool.api import core
from motorpool.api.errors import ServiceUnavailable
from motorpool.api.meta import ObjectKey
from motorpool.workloads.namespace.reconcile import content_kinds, controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until


def namespace(name, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, **metadata},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def config_map(name, namespace, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
    }


def event(name, namespace):
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "reason": "Killing",
    }


def names(client, kind):
    return {key.name for kept, key in client.objects if kept == kind}


async def test_an_ending_namespace_is_emptied_and_goes():
    client = Cluster(
        namespace("a"),
        namespace("b"),
        config_map("mine", "a"),
        config_map("other", "b"),
        event("e", "a"),
    )
    async with running(client, controller):
        await quiet(client)
        assert client.writes == []

        await client.delete(core.NAMESPACE, "", "a")

        await until(lambda: names(client, core.NAMESPACE) == {"b"})
    assert names(client, core.CONFIG_MAP) == {"other"}
    assert names(client, core.EVENT) == set()
    assert client.writes[-1] == "update finalize Namespace a"


async def test_it_stays_and_says_why_while_something_remains():
    client = Cluster(
        namespace("a"), config_map("held", "a", finalizers=["x/y"]), config_map("free", "a")
    )
    async with running(client, controller):
        await client.delete(core.NAMESPACE, "", "a")
        await quiet(client)
        status = client.kept(core.NAMESPACE, "", "a")["status"]
        assert names(client, core.CONFIG_MAP) == {"held"}
        assert status["conditions"][3]["message"] == (
            "Some resources are remaining: configmaps. has 1 resource instances"
        )

        await client.patch(core.CONFIG_MAP, "a", "held", {"metadata": {"finalizers": None}})

        await until(lambda: names(client, core.NAMESPACE) == set())


async def test_a_second_pass_writes_nothing():
    client = Cluster(
        namespace("a", deletionTimestamp="2026-01-01T00:00:00Z"),
        config_map("held", "a", finalizers=["x/y"]),
    )
    async with listening(client, controller) as namespaces:
        await namespaces.reconcile(ObjectKey("", "a"))
    async with listening(client, controller) as namespaces:
        before = list(client.writes)
        await namespaces.reconcile(ObjectKey("", "a"))

    assert client.writes == before


async def test_a_fault_leaves_the_namespace_for_the_next_try():
    class Faulty(Cluster):
        async def list(self, kind, namespace="", **selectors):
            if kind == core.SECRET and namespace:
                raise ServiceUnavailable("not now")
            return await super().list(kind, namespace, **selectors)

    client = Faulty(namespace("a", deletionTimestamp="2026-01-01T00:00:00Z"))
    async with listening(client, controller) as namespaces:
        with pytest.raises(ServiceUnavailable):
            await namespaces.reconcile(ObjectKey("", "a"))

    assert names(client, core.NAMESPACE) == {"a"}


def test_events_go_last_and_every_kind_goes_once():
    kinds = content_kinds()

    assert kinds[-1] is core.EVENT
    assert len({(kind.group, kind.kind) for kind in kinds}) == len(kinds)
    assert all(kind.namespaced for kind in kinds)
