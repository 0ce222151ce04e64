"""What ``kubectl get`` shows of claims, volumes and their classes. Pure."""

from datetime import datetime

from motorpool.api.claims import is_default_class
from motorpool.api.columns import Cell
from motorpool.api.kinds import Column
from motorpool.api.meta import Object, at
from motorpool.api.tables import AGE, NAME

_UNSET = "<unset>"
_SHORT = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}  # fmt: skip


def _at(*path: str, default: str = "") -> Cell:
    return lambda obj, _: at(obj, *path) or default


def _phase(obj: Object, _: datetime) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return str(at(obj, "status", "phase", default=""))


def _modes(modes: list[str]) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in modes)


def _claim_capacity(obj: Object, _: datetime) -> str:
    if not at(obj, "spec", "volumeName"):
        return ""
    return str(at(obj, "status", "capacity", "storage", default=""))


def _claim_modes(obj: Object, _: datetime) -> str:
    if not at(obj, "spec", "volumeName"):
        return ""
    return _modes(at(obj, "status", "accessModes", default=[]))


PERSISTENT_VOLUME_CLAIM = (
    NAME,
    Column("Status", _phase, description="Whether it has its volume"),
    Column("Volume", _at("spec", "volumeName"), description="The volume that it is bound to"),
    Column("Capacity", _claim_capacity, description="How much the volume holds"),
    Column("Access Modes", _claim_modes, description="Who may use it at a time"),
    Column("StorageClass", _at("spec", "storageClassName"), description="How it is made"),
    Column(
        "VolumeAttributesClass",
        _at("spec", "volumeAttributesClassName", default=_UNSET),
        description="The attributes that it has",
    ),
    AGE,
    Column("VolumeMode", _at("spec", "volumeMode"), priority=1, description="Files or a device"),
)


def _claim_of(obj: Object, _: datetime) -> str:
    claim = at(obj, "spec", "claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


PERSISTENT_VOLUME = (
    NAME,
    Column("Capacity", _at("spec", "capacity", "storage"), description="How much it holds"),
    Column(
        "Access Modes",
        lambda obj, _: _modes(at(obj, "spec", "accessModes", default=[])),
        description="Who may use it at a time",
    ),
    Column(
        "Reclaim Policy",
        _at("spec", "persistentVolumeReclaimPolicy"),
        description="What becomes of it when its claim goes",
    ),
    Column("Status", _phase, description="Whether a claim has it"),
    Column("Claim", _claim_of, description="The claim that has it"),
    Column("StorageClass", _at("spec", "storageClassName"), description="How it was made"),
    Column(
        "VolumeAttributesClass",
        _at("spec", "volumeAttributesClassName", default=_UNSET),
        description="The attributes that it has",
    ),
    Column("Reason", _at("status", "reason"), description="Why it is in its status"),
    AGE,
    Column("VolumeMode", _at("spec", "volumeMode"), priority=1, description="Files or a device"),
)


def _class_name(obj: Object, _: datetime) -> str:
    name = str(obj["metadata"].get("name", ""))
    return f"{name} (default)" if is_default_class(obj) else name


STORAGE_CLASS = (
    Column("Name", _class_name, format="name", description=NAME.description),
    Column("Provisioner", _at("provisioner"), description="Who makes its volumes"),
    Column("ReclaimPolicy", _at("reclaimPolicy"), description="What becomes of a volume"),
    Column("VolumeBindingMode", _at("volumeBindingMode"), description="When volumes are bound"),
    Column(
        "AllowVolumeExpansion",
        lambda obj, _: bool(obj.get("allowVolumeExpansion")),
        "boolean",
        description="Whether a claim may grow",
    ),
    AGE,
)
