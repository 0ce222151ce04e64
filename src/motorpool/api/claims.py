"""Defaults and rules of PersistentVolumeClaims, PersistentVolumes and StorageClasses. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import quantity
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of, at
from motorpool.api.validation import listed, one_of

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_NO_SOURCES = frozenset((
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity",
    "persistentVolumeReclaimPolicy", "storageClassName", "volumeAttributesClassName", "volumeMode",
))  # fmt: skip
_CLAIM_MAY_CHANGE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


def is_default_class(storage_class: Object) -> bool:
    return annotations_of(storage_class).get(DEFAULT_CLASS) == "true"


def default_claim(claim: Object) -> None:
    spec = claim.setdefault("spec", {})
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    _make_canonical(at(spec, "resources", "requests"))
    claim.setdefault("status", {}).setdefault("phase", "Pending")


def begin_claim(claim: Object) -> None:
    _add_finalizer(claim, CLAIM_FINALIZER)


def default_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    if spec.get("hostPath") is not None:
        spec["hostPath"].setdefault("type", "")
    _make_canonical(spec.get("capacity"))
    volume.setdefault("status", {}).setdefault("phase", "Pending")


def begin_volume(volume: Object) -> None:
    _add_finalizer(volume, VOLUME_FINALIZER)


def _add_finalizer(obj: Object, finalizer: str) -> None:
    present = obj["metadata"].get("finalizers") or []
    if finalizer not in present:
        obj["metadata"]["finalizers"] = [*present, finalizer]


def default_storage_class(storage_class: Object) -> None:
    if not storage_class.get("reclaimPolicy"):
        storage_class["reclaimPolicy"] = "Delete"
    if not storage_class.get("volumeBindingMode"):
        storage_class["volumeBindingMode"] = "Immediate"


def _make_canonical(amounts: Any) -> None:
    """An amount that cannot be read stays; validation names it."""
    for name, amount in (amounts or {}).items():
        if quantity.is_quantity(amount):
            amounts[name] = quantity.canonical(amount)


def _mode_errors(modes: Sequence[Any]) -> Iterator[FieldError]:
    if not modes:
        yield FieldError.required("spec.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in _MODES:
            yield FieldError.not_supported("spec.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        yield FieldError.forbidden("spec.accessModes", text)


def _amount_errors(amount: Any, path: str) -> Iterator[FieldError]:
    if amount is None:
        yield FieldError.required(path)
    elif not quantity.is_quantity(amount) or quantity.compare(amount, 0) <= 0:
        yield FieldError.invalid(path, amount, "must be greater than zero")


def _claim_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    yield from _mode_errors(spec.get("accessModes") or ())
    amount = at(spec, "resources", "requests", "storage")
    yield from _amount_errors(amount, "spec.resources[storage]")
    yield from one_of("spec.volumeMode", spec.get("volumeMode"), _VOLUME_MODES)
    if old is None:
        return
    before = old.get("spec") or {}
    if _fixed(spec, before) != _fixed(before, spec):
        yield FieldError.forbidden("spec", _CLAIM_MAY_CHANGE)
    had = at(before, "resources", "requests", "storage")
    if quantity.is_quantity(amount) and had is not None and quantity.compare(amount, had) < 0:
        text = "field can not be less than status.capacity"
        yield FieldError.forbidden("spec.resources.requests.storage", text)


def _fixed(spec: Object, other: Object) -> Object:
    """The spec without what may change: what was never said may still be said once."""
    free = {"resources", "volumeAttributesClassName"}
    for name in ("volumeName", "storageClassName"):
        if not spec.get(name) or not other.get(name):
            free.add(name)
    return {key: value for key, value in spec.items() if key not in free}


def _volume_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    yield from _mode_errors(spec.get("accessModes") or ())
    if not spec.get("capacity"):
        yield FieldError.required("spec.capacity")
    else:
        yield from _amount_errors(spec["capacity"].get("storage"), "spec.capacity[storage]")
    sources = {key: value for key, value in spec.items() if key not in _NO_SOURCES}
    if not sources:
        yield FieldError.required("spec", "must specify a volume type")
    for extra in sorted(sources)[1:]:
        text = "may not specify more than 1 volume type"
        yield FieldError.forbidden(f"spec.{extra}", text)
    policy = spec.get("persistentVolumeReclaimPolicy")
    yield from one_of("spec.persistentVolumeReclaimPolicy", policy, ("Delete", "Recycle", "Retain"))
    if old is not None:
        before = {k: v for k, v in (old.get("spec") or {}).items() if k not in _NO_SOURCES}
        if sources != before:
            text = "spec.persistentvolumesource is immutable after creation"
            yield FieldError.forbidden("spec.persistentvolumesource", text)


def _class_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    if not new.get("provisioner"):
        yield FieldError.required("provisioner")
    yield from one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    yield from one_of("volumeBindingMode", new.get("volumeBindingMode"), _BINDING_MODES)
    if old is None:
        return
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if new.get(field) != old.get(field):
            text = f"updates to {field} are forbidden."
            yield FieldError.forbidden(field, text)


validate_claim = listed(_claim_errors)
validate_volume = listed(_volume_errors)
validate_storage_class = listed(_class_errors)
