"""Hardware profiles as services live with them: they come, change and go."""

import pytest

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.conditions import condition_of
from motorpool.api.meta import copy_of
from motorpool.api.profiles import DASHBOARD_HARDWARE_PROFILE, HARDWARE_PROFILE
from motorpool.controllers.inferenceservice.hardware import (
    NAME_ANNOTATION,
    NAMESPACE_ANNOTATION,
    hardware_of,
    with_hardware,
)
from motorpool.loop.cluster import Cluster
from motorpool.loop.runner import Settings
from tests.controllers.inferenceservice.objects import APPLICATIONS, NAMESPACE, isvc, runtime
from tests.controllers.inferenceservice.test_reconcile import World

KINDS = [HARDWARE_PROFILE, DASHBOARD_HARDWARE_PROFILE]


def profile(count=1, *, namespace=NAMESPACE, kind=HARDWARE_PROFILE, **spec):
    identifier = {"displayName": "GPU", "identifier": "nvidia.com/gpu", "minCount": 1,
                  "defaultCount": count}  # fmt: skip
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "gpu", "namespace": namespace},
        "spec": {"identifiers": [identifier], **spec},
    }


def choosing(namespace=None):
    wanted = isvc()
    wanted["metadata"]["annotations"] = {NAME_ANNOTATION: "gpu"}
    if namespace:
        wanted["metadata"]["annotations"][NAMESPACE_ANNOTATION] = namespace
    return wanted


def gpus_of(world):
    there = world.child(DEPLOYMENT)
    if there is None:
        return None
    server = there["spec"]["template"]["spec"]["containers"][0]
    return server["resources"].get("limits", {}).get("nvidia.com/gpu")


async def test_a_profile_that_is_missing_is_told_until_it_comes():
    async with World(choosing(), runtime(), kinds=KINDS).turning() as world:
        await world.until(lambda: world.condition() == ("False", "HardwareProfileNotFound"))
        await world.until(lambda: world.events() == [("Warning", "HardwareProfileNotFound")])
        message = condition_of(world.isvc(), "Ready")["message"]
        assert message == (
            "HardwareProfile gpu does not exist in namespace ai-demo: create it, or correct "
            "annotation opendatahub.io/hardware-profile-name"
        )
        assert not world.child(DEPLOYMENT)
        assert await world.reconciled_again() == []
        await world.client.create(HARDWARE_PROFILE, profile())
        await world.until(lambda: gpus_of(world) == "1")
        assert await world.reconciled_again() == []


async def test_a_change_of_the_profile_reaches_the_services_of_every_namespace_that_name_it():
    objects = [choosing(APPLICATIONS), runtime(), profile(namespace=APPLICATIONS)]
    async with World(*objects, kinds=KINDS).turning() as world:
        await world.until(lambda: gpus_of(world) == "1")
        await world.client.update(HARDWARE_PROFILE, profile(2, namespace=APPLICATIONS))
        await world.until(lambda: gpus_of(world) == "2")


async def test_what_runs_goes_on_when_its_profile_is_deleted():
    async with World(choosing(), runtime(), profile(), kinds=KINDS).turning() as world:
        await world.serve()
        await world.client.delete(HARDWARE_PROFILE, NAMESPACE, "gpu")
        await world.until(lambda: world.condition() == ("False", "HardwareProfileNotFound"))
        assert gpus_of(world) == "1"
        assert await world.reconciled_again() == []


async def test_the_users_spec_stays_as_the_user_wrote_it():
    node = {"type": "Node", "node": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "c"}]}}
    objects = [choosing(), runtime(), profile(scheduling=node)]
    async with World(*objects, kinds=KINDS).turning() as world:
        await world.until(lambda: gpus_of(world) == "1")
        await world.settled()
        assert world.isvc()["spec"] == choosing()["spec"]
        assert world.isvc()["metadata"].get("labels") is None


async def test_the_profile_that_the_spec_says_already_rolls_no_pods_as_it_comes_and_goes():
    written = isvc(model={"resources": {"limits": {"nvidia.com/gpu": "1"}}})
    async with World(written, runtime(), profile(), kinds=KINDS).turning() as world:
        await world.until(lambda: gpus_of(world) == "1")
        await world.settled()
        before = world.child(DEPLOYMENT)

        async def annotate(annotations):
            def change(obj):
                obj["metadata"]["annotations"] = annotations

            await world.edit(serving.INFERENCE_SERVICE, "resnet", change)
            await world.settled()

        await annotate({NAME_ANNOTATION: "gpu", NAMESPACE_ANNOTATION: NAMESPACE})
        assert world.child(DEPLOYMENT) == before
        await annotate({})
        assert world.child(DEPLOYMENT) == before


async def test_a_cluster_without_the_kind_serves_as_if_no_profile_were_named_and_says_so():
    cluster = Settings(cluster=Cluster.of_version({"gitVersion": "v1.36.0"}))
    async with World(choosing(), runtime(), settings=cluster).turning() as world:
        await world.serve()
        assert gpus_of(world) is None
        note = condition_of(world.isvc(), "FieldsIgnored")["message"]
        text = "this API has no HardwareProfiles, set resources"
        assert note == f"annotation {NAME_ANNOTATION}: {text}"


@pytest.mark.parametrize("version", [None, {"gitVersion": "v1.36.0"}])
async def test_a_queue_is_a_label_for_kueue_and_is_told_of_where_nothing_queues(version):
    queue = {"type": "Queue", "kueue": {"localQueueName": "gpus"}}
    settings = Settings(cluster=Cluster.of_version(version)) if version else Settings()
    objects = [choosing(), runtime(), profile(scheduling=queue)]
    async with World(*objects, kinds=KINDS, settings=settings).turning() as world:
        await world.serve()
        labels = world.child(DEPLOYMENT)["metadata"]["labels"]
        assert labels["kueue.x-k8s.io/queue-name"] == "gpus"
        assert "kueue.x-k8s.io/queue-name" in world.child(core.SERVICE)["metadata"]["labels"]
        note = condition_of(world.isvc(), "FieldsIgnored")
        assert (note is None) == (version is not None)
        if note is not None:
            assert "queue gpus of HardwareProfile gpu: nothing queues here" in note["message"]


def test_the_present_kind_goes_before_the_earlier_one_of_the_same_name():
    both = [profile(1), profile(2, kind=DASHBOARD_HARDWARE_PROFILE)]
    found = hardware_of(choosing(), both, served=True, shared=APPLICATIONS)
    assert found is not None
    assert found.resources == {"nvidia.com/gpu": "1"}


def test_the_service_that_the_profile_is_laid_under_is_not_changed():
    wanted = choosing()
    before = copy_of(wanted)
    found = hardware_of(wanted, [profile()], served=True, shared=APPLICATIONS)
    assert with_hardware(wanted, found) != before
    assert wanted == before
