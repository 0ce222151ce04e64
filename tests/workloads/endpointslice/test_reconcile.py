from motorpool.api import core, discovery
from motorpool.api.meta import ObjectKey
from motorpool.workloads.endpointslice.reconcile import controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.endpointslice.test_desired import ready_pod, service

KEY = ObjectKey("n", "web")


def readiness(client):
    return [
        (endpoint["targetRef"]["name"], endpoint["conditions"]["ready"])
        for each in client.all(discovery.ENDPOINT_SLICE)
        for endpoint in each["endpoints"]
    ]


async def test_a_second_pass_writes_nothing():
    client = Cluster(service(), ready_pod())
    async with listening(client, controller) as endpoint_slices:
        await endpoint_slices.reconcile(KEY)
        assert len(client.writes) == 1

        await endpoint_slices.reconcile(KEY)

    assert len(client.writes) == 1


async def test_slices_follow_the_pods():
    client = Cluster(service(), ready_pod("a"), ready_pod("x", labels={"app": "other"}))
    async with running(client, controller):
        await until(lambda: readiness(client) == [("a", True)])

        await client.create(core.POD, ready_pod("b", "127.64.0.2"))
        await until(lambda: readiness(client) == [("a", True), ("b", True)])

        client.mark_deleting(core.POD, client.kept(core.POD, "n", "a"))
        await until(lambda: readiness(client) == [("a", False), ("b", True)])

        client.remove(core.POD, ready_pod("a"))
        await until(lambda: readiness(client) == [("b", True)])
        await quiet(client)
    assert len(client.all(discovery.ENDPOINT_SLICE)) == 1


async def test_a_slice_that_was_made_before_and_not_seen_yet_is_compared():
    client = Cluster(service(), ready_pod())
    async with listening(client, controller) as endpoint_slices:
        await endpoint_slices.reconcile(KEY)
    made = client.all(discovery.ENDPOINT_SLICE)[0]

    client = Cluster(service(), ready_pod("b"))
    async with listening(client, controller) as endpoint_slices:
        client._store(discovery.ENDPOINT_SLICE, made, "ADDED")
        await endpoint_slices.reconcile(KEY)
        await endpoint_slices.reconcile(KEY)

    assert readiness(client) == [("b", True)]


async def test_services_without_a_selector_and_foreign_slices_are_left_alone():
    foreign = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "mine", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"},
        },
        "endpoints": [],
    }  # fmt: skip
    client = Cluster(service(selector=None), foreign)
    async with running(client, controller):
        await quiet(client)

    assert client.writes == []
