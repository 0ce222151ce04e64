from motorpool.api import core
from motorpool.api.conditions import condition_of
from motorpool.api.meta import ObjectKey, at
from motorpool.workloads.scheduler.reconcile import controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.scheduler.test_fit import node


def waiting(name, cpu="1", **spec):
    resources = {"requests": {"cpu": cpu}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"containers": [{"name": "c", "resources": resources}], **spec},
        "status": {"phase": "Pending"},
    }


def placed(client):
    return {pod["metadata"]["name"] for pod in client.all(core.POD) if at(pod, "spec", "nodeName")}


async def test_room_is_not_given_twice_although_the_informer_is_behind():
    client = Cluster(node(), waiting("a"), waiting("b"), waiting("c"))
    async with listening(client, controller) as scheduler:
        for name in "abc":
            await scheduler.reconcile(ObjectKey("n", name))
        before = list(client.writes)
        for name in "abc":
            await scheduler.reconcile(ObjectKey("n", name))

    assert client.writes == before
    assert placed(client) == {"a", "b"}
    refused = condition_of(client.kept(core.POD, "n", "c"), "PodScheduled")
    assert (refused["status"], refused["reason"]) == ("False", "Unschedulable")
    assert refused["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")


async def test_the_condition_is_written_before_the_name_of_the_node():
    client = Cluster(node(), waiting("a"))
    async with listening(client, controller) as scheduler:
        await scheduler.reconcile(ObjectKey("n", "a"))

    assert client.writes == ["patch Pod a", "patch Pod a"]
    pod = client.kept(core.POD, "n", "a")
    assert condition_of(pod, "PodScheduled")["status"] == "True"
    assert pod["spec"]["nodeName"] == "node1"


async def test_a_pod_that_ends_or_goes_makes_room():
    client = Cluster(node(), waiting("a"), waiting("b"))
    async with running(client, controller):
        await until(lambda: placed(client) == {"a", "b"})
        await client.create(core.POD, waiting("c"))
        await client.create(core.POD, waiting("d"))
        await quiet(client)
        assert placed(client) == {"a", "b"}

        client.set(core.POD, client.kept(core.POD, "n", "a"), status={"phase": "Succeeded"})
        await until(lambda: placed(client) == {"a", "b", "c"})
        client.remove(core.POD, client.kept(core.POD, "n", "b"))
        await until(lambda: "d" in placed(client))
        await quiet(client)

    assert "Successfully assigned n/a to node1" in client.events("Scheduled")
    assert client.events("FailedScheduling")[0].startswith(
        "0/1 nodes are available: 1 Insufficient cpu."
    )


async def test_a_node_that_comes_later_or_grows_is_used():
    client = Cluster(waiting("a", cpu="3"))
    async with running(client, controller):
        await quiet(client)
        client._store(core.NODE, node(), "ADDED")
        await quiet(client)
        assert placed(client) == set()

        kept = client.kept(core.NODE, "", "node1")
        client.set(core.NODE, kept, status={"allocatable": {"cpu": "4", "pods": "9"}})
        await until(lambda: placed(client) == {"a"})


async def test_pods_of_another_scheduler_and_gated_pods_are_left_alone():
    client = Cluster(
        node(),
        waiting("a", schedulerName="mine"),
        waiting("b", schedulingGates=[{"name": "later"}]),
    )
    async with running(client, controller):
        await quiet(client)

    assert client.writes == []
