import pytest

from motorpool.workloads.persistentvolumeclaim.match import best_volume, default_class, volume_of


def claim(**spec):
    return {
        "metadata": {"name": "data", "namespace": "n", "uid": "uid-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeMode": "Filesystem",
            **spec,
        },
    }


def volume(name, size="1Gi", **spec):
    return {
        "metadata": {"name": name, "labels": {"disk": name}},
        "spec": {
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "capacity": {"storage": size},
            "volumeMode": "Filesystem",
            **spec,
        },
    }


def name_of(found):
    return None if found is None else found["metadata"]["name"]


def test_the_smallest_volume_that_is_large_enough_is_taken():
    offered = [volume("s", "500Mi"), volume("l", "10Gi"), volume("m", "2Gi")]
    assert name_of(best_volume(claim(), offered)) == "m"


@pytest.mark.parametrize(
    "spec",
    [
        {"storageClassName": "fast"},
        {"accessModes": ["ReadWriteMany"]},
        {"volumeMode": "Block"},
        {"selector": {"matchLabels": {"disk": "other"}}},
        {"volumeName": "other"},
    ],
)
def test_a_volume_that_does_not_fit_is_left(spec):
    assert best_volume(claim(**spec), [volume("v")]) is None


def test_a_volume_that_names_the_claim_is_its_own_and_nobody_elses():
    ours = volume("small", "1Mi", claimRef={"namespace": "n", "name": "data"})
    assert name_of(best_volume(claim(), [volume("v"), ours])) == "small"
    past = {"namespace": "n", "name": "data", "uid": "uid-before"}
    assert best_volume(claim(), [volume("v", claimRef=past)]) is None


def test_the_youngest_default_class_counts():
    def made(name, moment, default="true"):
        annotations = {"storageclass.kubernetes.io/is-default-class": default}
        metadata = {"name": name, "annotations": annotations, "creationTimestamp": moment}
        return {"metadata": metadata}

    classes = [made("a", "2026-01-01"), made("b", "2026-01-02"), made("c", "2026-01-03", "false")]
    assert name_of(default_class(classes)) == "b"


def test_a_volume_is_made_as_the_claim_asks():
    made = volume_of(claim(), {"metadata": {"name": "standard"}, "reclaimPolicy": "Retain"}, "/d")
    assert made["metadata"]["name"] == "pvc-uid-data"
    assert made["spec"]["hostPath"] == {"path": "/d", "type": "DirectoryOrCreate"}
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["spec"]["claimRef"]["uid"] == "uid-data"
