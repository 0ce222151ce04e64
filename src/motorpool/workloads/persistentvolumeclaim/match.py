"""Which volume a claim gets, and what a volume made for it looks like. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from motorpool.api import quantity
from motorpool.api.claims import is_default_class
from motorpool.api.meta import (
    Object,
    annotations_of,
    at,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.api.selectors import LabelSelector

PROVISIONER = "motorpool.io/directory"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
STANDARD = "standard"


def standard_class() -> Object:
    """The class of who names none. There is one machine: no volume need wait for a pod."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STANDARD,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def default_class(classes: Iterable[Object]) -> Object | None:
    """The youngest of those that say so."""
    found = [each for each in classes if is_default_class(each)]
    return max(
        found,
        key=lambda each: (each["metadata"].get("creationTimestamp", ""), name_of(each)),
        default=None,
    )


def is_for(volume: Object, claim: Object) -> bool:
    """Whether the volume names the claim; a reference by name alone is one, too."""
    reference = at(volume, "spec", "claimRef")
    if reference is None:
        return False
    same = (reference.get("namespace"), reference.get("name")) == (
        namespace_of(claim), name_of(claim),
    )  # fmt: skip
    return same and reference.get("uid") in (None, "", uid_of(claim))


def best_volume(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The volume that names the claim, else the smallest free one that does."""
    candidates = []
    for volume in volumes:
        if is_deleting(volume):
            continue
        if is_for(volume, claim):
            return volume
        if at(volume, "spec", "claimRef") is None and fits(claim, volume):
            candidates.append(volume)
    return min(candidates, key=lambda each: (_capacity(each), name_of(each)), default=None)


def fits(claim: Object, volume: Object) -> bool:
    wanted, given = claim["spec"], volume["spec"]
    if wanted.get("volumeName") not in (None, "", name_of(volume)):
        return False
    if (wanted.get("storageClassName") or "") != (given.get("storageClassName") or ""):
        return False
    if wanted.get("volumeMode") != given.get("volumeMode"):
        return False
    if not set(wanted.get("accessModes") or ()) <= set(given.get("accessModes") or ()):
        return False
    if _capacity(volume) < quantity.parse(wanted["resources"]["requests"]["storage"]):
        return False
    selector = wanted.get("selector")
    return not selector or LabelSelector.from_object(selector).matches(labels_of(volume))


def _capacity(volume: Object) -> Decimal:
    return quantity.parse(at(volume, "spec", "capacity", "storage", default="0"))


def volume_name(claim: Object) -> str:
    return f"pvc-{uid_of(claim)}"


def volume_of(claim: Object, storage_class: Object, directory: str) -> Object:
    """A volume made for one claim."""
    spec = claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: PROVISIONER},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference_to(claim),
            "hostPath": {"path": directory, "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": name_of(storage_class),
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        },
    }


def reference_to(claim: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
    }


def is_ours(volume: Object) -> bool:
    return annotations_of(volume).get(PROVISIONED_BY) == PROVISIONER


def claim_status(claim: Object, volume: Object) -> Object:
    """The status of a claim that has its volume."""
    before = at(claim, "status", default={})
    return {
        **before,
        "phase": "Bound",
        "accessModes": at(volume, "spec", "accessModes", default=[]),
        "capacity": {"storage": at(volume, "spec", "capacity", "storage", default="0")},
    }


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod uses."""
    volumes = at(pod, "spec", "volumes", default=())
    names = [at(volume, "persistentVolumeClaim", "claimName") for volume in volumes]
    return [name for name in names if name]
