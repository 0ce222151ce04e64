import pytest

from motorpool.api import core
from motorpool.workloads.persistentvolumeclaim.match import standard_class
from motorpool.workloads.persistentvolumeclaim.reconcile import controller
from tests.workloads.cluster import Cluster, quiet, running, until
from tests.workloads.objects import pod

CLAIM, VOLUME = core.PERSISTENT_VOLUME_CLAIM, core.PERSISTENT_VOLUME


def claim(**spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data",
            "namespace": "n",
            "uid": "uid-data",
            "finalizers": ["kubernetes.io/pvc-protection"],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeMode": "Filesystem",
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def volume(**spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "disk"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
            "hostPath": {"path": "/srv"},
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def using():
    made = pod("app", phase="Running")
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    made["spec"]["volumes"] = [{"name": "v", **source}]
    return made


def phase(client, kind, namespace, name):
    return client.kept(kind, namespace, name)["status"]["phase"]


def is_there(client, kind, name):
    return any(obj["metadata"]["name"] == name for obj in client.all(kind))


@pytest.fixture
def build(tmp_path):
    return lambda context: controller(context, volumes_dir=tmp_path)


async def test_a_claim_of_the_default_class_gets_a_volume_of_its_own(build, tmp_path):
    client = Cluster(claim(), standard_class())
    async with running(client, build):
        await until(lambda: phase(client, CLAIM, "n", "data") == "Bound")
        await quiet(client)
        made = client.kept(CLAIM, "n", "data")
        assert made["spec"]["storageClassName"] == "standard"
        assert made["spec"]["volumeName"] == "pvc-uid-data"
        assert made["status"]["capacity"] == {"storage": "1Gi"}
        found = client.kept(VOLUME, "", "pvc-uid-data")
        assert found["spec"]["hostPath"]["path"] == str(tmp_path / "pvc-uid-data")
        assert found["status"]["phase"] == "Bound"
        client.writes.clear()
        client.set(CLAIM, made)
        client.set(VOLUME, found)
        await quiet(client)
        assert client.writes == []


async def test_the_volume_and_its_directory_go_with_the_claim(build, tmp_path):
    client = Cluster(claim(), standard_class())
    async with running(client, build):
        await until(lambda: phase(client, CLAIM, "n", "data") == "Bound")
        directory = tmp_path / "pvc-uid-data"
        directory.mkdir()
        (directory / "file").write_text("kept until then")
        await client.delete(CLAIM, "n", "data")
        await until(lambda: not is_there(client, VOLUME, "pvc-uid-data"))
    assert not directory.exists()
    assert tmp_path.exists()


async def test_a_claim_stays_while_a_pod_uses_it(build):
    client = Cluster(claim(), standard_class(), using())
    async with running(client, build):
        await until(lambda: phase(client, CLAIM, "n", "data") == "Bound")
        await client.delete(CLAIM, "n", "data")
        await quiet(client)
        assert is_there(client, CLAIM, "data")
        client.remove(core.POD, using())
        await until(lambda: not is_there(client, CLAIM, "data"))


async def test_a_volume_that_is_retained_stays_with_its_data(build):
    client = Cluster(claim(storageClassName=""), volume())
    async with running(client, build):
        await until(lambda: phase(client, CLAIM, "n", "data") == "Bound")
        assert phase(client, VOLUME, "", "disk") == "Bound"
        await client.delete(CLAIM, "n", "data")
        await until(lambda: phase(client, VOLUME, "", "disk") == "Released")
        await quiet(client)
    assert is_there(client, VOLUME, "disk")


async def test_a_claim_for_the_first_consumer_waits_for_a_placed_pod(build):
    late = {**standard_class(), "volumeBindingMode": "WaitForFirstConsumer"}
    client = Cluster(claim(), late)
    async with running(client, build):
        await until(lambda: client.events("WaitForFirstConsumer"))
        assert phase(client, CLAIM, "n", "data") == "Pending"
        await client.create(core.POD, using())
        await until(lambda: phase(client, CLAIM, "n", "data") == "Bound")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "FailedBinding"),
        ({"storageClassName": ""}, "FailedBinding"),
        ({"storageClassName": "absent"}, "ProvisioningFailed"),
    ],
)
async def test_a_claim_that_gets_nothing_is_told_why(build, spec, reason):
    client = Cluster(claim(**spec))
    async with running(client, build):
        await until(lambda: client.events(reason))
        await quiet(client)
    assert phase(client, CLAIM, "n", "data") == "Pending"


async def test_a_volume_of_another_place_is_never_removed(build, tmp_path):
    outside = tmp_path.parent / "precious"
    outside.mkdir(exist_ok=True)
    made = volume(
        hostPath={"path": str(outside)},
        persistentVolumeReclaimPolicy="Delete",
        claimRef={"namespace": "n", "name": "gone", "uid": "uid-gone"},
    )
    made["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": "motorpool.io/directory"}
    client = Cluster(made)
    async with running(client, build):
        await until(lambda: client.events("VolumeFailedDelete"))
    assert outside.exists()
