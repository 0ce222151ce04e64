import asyncio
from datetime import UTC, datetime

import pytest

from motorpool.api import apps, core
from motorpool.api.errors import Forbidden
from motorpool.api.meta import ObjectKey, controller_of
from motorpool.base.clock import rfc3339
from motorpool.loop.informer import Change
from motorpool.workloads.replicaset.reconcile import controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.objects import pod, ready_condition, replica_set

KEY = ObjectKey("n", "web-1")


async def test_a_second_pass_creates_nothing_twice_although_the_informer_is_behind():
    client = Cluster(replica_set(replicas=3))
    async with listening(client, controller) as replica_sets:
        await replica_sets.reconcile(KEY)
        before = list(client.writes)

        await replica_sets.reconcile(KEY)

    assert client.writes == before
    assert len(client.all(core.POD)) == 3
    assert client.kept(apps.REPLICA_SET, "n", "web-1")["status"] == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "observedGeneration": 1,
    }


async def test_a_second_pass_deletes_nothing_twice_although_the_informer_is_behind():
    owner = replica_set(replicas=1)
    pods = [pod(f"p{number}", owner=owner, finalizers=["x/y"]) for number in range(3)]
    client = Cluster(owner, *pods)
    async with listening(client, controller) as replica_sets:
        await replica_sets.reconcile(KEY)
        before = list(client.writes)

        await replica_sets.reconcile(KEY)

    assert client.writes == before
    assert sum("deletionTimestamp" in p["metadata"] for p in client.all(core.POD)) == 2


async def test_an_orphan_that_fits_is_adopted():
    client = Cluster(replica_set(replicas=1), pod("stray"))
    async with listening(client, controller) as replica_sets:
        await replica_sets.reconcile(KEY)

    assert len(client.all(core.POD)) == 1
    assert controller_of(client.kept(core.POD, "n", "stray"))["uid"] == "uid-web-1"


async def test_a_pod_whose_labels_no_longer_fit_is_released_and_replaced():
    owner = replica_set(replicas=1)
    client = Cluster(owner, pod("debugged", labels={"app": "other"}, owner=owner))
    async with listening(client, controller) as replica_sets:
        await replica_sets.reconcile(KEY)

    assert controller_of(client.kept(core.POD, "n", "debugged")) is None
    assert len(client.all(core.POD)) == 2


async def test_a_refusal_is_a_condition_and_an_event_and_tried_again():
    client = Cluster(replica_set(replicas=5))
    client.refusals["create", "Pod"] = Forbidden("exceeded quota: small")
    async with listening(client, controller) as replica_sets:
        with pytest.raises(Forbidden):
            await replica_sets.reconcile(KEY)

    status = client.kept(apps.REPLICA_SET, "n", "web-1")["status"]
    assert status["conditions"][0]["type"] == "ReplicaFailure"
    assert status["conditions"][0]["reason"] == "FailedCreate"
    assert status["conditions"][0]["message"] == "exceeded quota: small"


async def test_pods_that_were_refused_are_tried_again_when_an_account_comes():
    refused, fine = replica_set(replicas=1), replica_set("web-2", replicas=1)
    refused["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True"}]}
    metadata = {"name": "robot", "namespace": "n"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    async with listening(Cluster(refused, fine), controller) as replica_sets:
        sources = replica_sets.sources.items()
        keys_of = next(keys for informer, keys in sources if informer.kind is core.SERVICE_ACCOUNT)
        assert list(keys_of(Change(None, account))) == [KEY]
        assert list(keys_of(Change(account, account))) == []


async def test_a_namespace_that_ends_is_no_failure():
    client = Cluster(replica_set(replicas=1))
    details = {"causes": [{"reason": "NamespaceTerminating"}]}
    client.refusals["create", "Pod"] = Forbidden("it ends", details=details)
    async with listening(client, controller) as replica_sets:
        assert await replica_sets.reconcile(KEY) is None


async def test_failed_pods_are_replaced_and_gone_ones_too():
    client = Cluster(replica_set(replicas=2))
    async with running(client, controller):
        await until(lambda: len(client.all(core.POD)) == 2)
        one, two = client.all(core.POD)

        client.set(core.POD, one, status={"phase": "Failed"})
        client.remove(core.POD, two)

        await until(lambda: len(client.all(core.POD)) == 3)
        await quiet(client)
    assert len(client.all(core.POD)) == 3
    assert len(client.events("SuccessfulCreate")) == 4


async def test_a_node_that_fails_every_pod_is_not_flooded():
    client = Cluster(replica_set(replicas=1))
    moment = datetime.now(UTC)  # The same for all: a wait that is over would let a pod more in.
    async with running(client, controller, clock=lambda: moment):
        for _ in range(20):
            await quiet(client)
            for each in client.all(core.POD):
                metadata = {**each["metadata"], "creationTimestamp": rfc3339(moment)}
                client.set(core.POD, each, metadata=metadata, status={"phase": "Failed"})

    assert len(client.all(core.POD)) == 3


async def test_a_ready_pod_becomes_available_after_min_ready_seconds():
    owner = replica_set(replicas=1, minReadySeconds=3600)
    ready = pod("p", owner=owner)
    ready["status"]["conditions"] = [ready_condition(True, "2999-01-01T00:00:00Z")]
    client = Cluster(owner, ready)
    async with listening(client, controller) as replica_sets:
        again_s = await replica_sets.reconcile(KEY)

    status = client.kept(apps.REPLICA_SET, "n", "web-1")["status"]
    assert status["readyReplicas"] == 1
    assert "availableReplicas" not in status
    assert again_s is not None
    assert again_s > 0


async def test_scaling_to_600_takes_more_than_one_burst():
    client = Cluster(replica_set(replicas=600))
    async with running(client, controller):
        await until(lambda: len(client.all(core.POD)) == 600)
        await asyncio.sleep(0.01)
    assert len(client.all(core.POD)) == 600
