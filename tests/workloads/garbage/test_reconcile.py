import pytest

from motorpool.api import apps, core
from motorpool.api.meta import ObjectKey
from motorpool.workloads.garbage.reconcile import controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.objects import reference


def config_map(name, *owners, namespace="n", **metadata):
    references = [reference(owner, blockOwnerDeletion=True) for owner in owners]
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", **metadata}
    if references:
        metadata["ownerReferences"] = references
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def left(client):
    return {key.name for kind, key in client.objects if kind == core.CONFIG_MAP}


def owner_uids(client, name):
    references = client.kept(core.CONFIG_MAP, "n", name)["metadata"].get("ownerReferences") or ()
    return [each["uid"] for each in references]


async def test_dependents_of_dependents_go_with_their_owner():
    root = config_map("root")
    child = config_map("child", root)
    client = Cluster(root, child, config_map("grandchild", child), config_map("stranger"))
    async with running(client, controller):
        await quiet(client)
        assert len(left(client)) == 4

        await client.delete(core.CONFIG_MAP, "n", "root")

        await until(lambda: left(client) == {"stranger"})
        await quiet(client)


async def test_what_another_owner_keeps_loses_only_the_dead_reference():
    one, two = config_map("one"), config_map("two")
    client = Cluster(one, two, config_map("child", one, two))
    async with running(client, controller):
        await client.delete(core.CONFIG_MAP, "n", "one")
        await until(lambda: owner_uids(client, "child") == ["uid-two"])
        await quiet(client)

    assert left(client) == {"two", "child"}


async def test_an_owner_of_the_same_name_is_not_the_owner():
    past = config_map("owner", uid="uid-past")
    client = Cluster(config_map("owner"), config_map("child", past))
    async with running(client, controller):
        await until(lambda: left(client) == {"owner"})


async def test_an_owner_that_the_informer_does_not_show_yet_is_asked_for():
    owner = config_map("owner")
    client = Cluster(config_map("child", owner))
    async with listening(client, controller) as collector:
        client._store(core.CONFIG_MAP, owner, "ADDED")
        await collector.reconcile(ObjectKey("n", "configmaps/child"))

    assert left(client) == {"owner", "child"}


async def test_owners_of_a_kind_that_is_not_served_keep_their_dependents():
    stranger = {"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "u"}}
    client = Cluster(config_map("child", stranger))
    async with running(client, controller):
        await quiet(client)

    assert left(client) == {"child"}


async def test_an_owner_in_another_namespace_is_no_owner():
    owner = config_map("owner", namespace="m")
    client = Cluster(owner, config_map("child", owner))
    async with running(client, controller):
        await until(lambda: left(client) == {"owner"})


async def test_a_namespaced_owner_of_a_cluster_scoped_object_is_an_event():
    owner = config_map("owner")
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node1", "ownerReferences": [reference(owner)]},
    }
    client = Cluster(node)
    async with running(client, controller):
        await until(lambda: client.events("OwnerRefInvalidNamespace"))

    assert len(client.all(core.NODE)) == 1


async def test_foreground_deletion_waits_for_the_dependents():
    root = config_map("root")
    child = config_map("child", root, finalizers=["test/wait"])
    client = Cluster(root, child)
    async with running(client, controller):
        await client.delete(core.CONFIG_MAP, "n", "root", propagation="Foreground")
        await quiet(client)
        kept = client.kept(core.CONFIG_MAP, "n", "child")
        assert "deletionTimestamp" in kept["metadata"]
        assert left(client) == {"root", "child"}

        await client.patch(core.CONFIG_MAP, "n", "child", {"metadata": {"finalizers": None}})

        await until(lambda: left(client) == set())


async def test_foreground_deletion_takes_the_grandchildren_first():
    root = config_map("root")
    child = config_map("child", root)
    client = Cluster(root, child, config_map("grandchild", child))
    async with running(client, controller):
        await client.delete(core.CONFIG_MAP, "n", "root", propagation="Foreground")
        await until(lambda: left(client) == set())

    deletions = [write for write in client.writes if write.startswith("delete")]
    assert deletions == [
        "delete ConfigMap root Foreground",
        "delete ConfigMap child Foreground",
        "delete ConfigMap grandchild",
    ]


async def test_orphans_stay_without_the_reference():
    root = config_map("root")
    client = Cluster(root, config_map("child", root))
    async with running(client, controller):
        await client.delete(core.CONFIG_MAP, "n", "root", propagation="Orphan")
        await until(lambda: left(client) == {"child"})
        await quiet(client)

    assert owner_uids(client, "child") == []


@pytest.mark.parametrize("count", [200])
async def test_many_dependents_go_without_a_scan_of_everything(count):
    roots = [config_map(f"root{number}") for number in range(count)]
    children = [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"child{number}", "namespace": "n", "ownerReferences": [reference(root)],
            },
            "spec": {},
        }
        for number, root in enumerate(roots)
    ]  # fmt: skip
    client = Cluster(*roots, *children)
    async with running(client, controller):
        for number in range(count):
            await client.delete(core.CONFIG_MAP, "n", f"root{number}")
        await until(lambda: not client.all(apps.REPLICA_SET))
