"""AcceleratorProfile and HardwareProfile: how users of OpenShift AI name what a machine has. Pure.

AcceleratorProfile  dashboard.opendatahub.io/v1            one kind of accelerator
HardwareProfile     dashboard.opendatahub.io/v1alpha1      of releases up to 2.x
HardwareProfile     infrastructure.opendatahub.io/v1       of later ones
"""

from datetime import datetime

from motorpool.api.definitions import rules_of
from motorpool.api.kinds import Column, Kind, Schema, open_schema
from motorpool.api.kubernetestypes import INT_OR_STRING
from motorpool.api.meta import Object, at
from motorpool.api.serving_schema import (
    array,
    boolean,
    integer,
    map_of,
    record,
    requiring,
    string,
    strings,
)
from motorpool.api.tables import CUSTOM_AGE
from motorpool.api.tables import json_path_column as column

DASHBOARD, INFRASTRUCTURE = "dashboard.opendatahub.io", "infrastructure.opendatahub.io"
RESOURCE_TYPES = ("CPU", "Memory", "Accelerator")
SCHEDULING_TYPES = ("Queue", "Node")


def accelerator_profile() -> Schema:
    spec = requiring(
        record(
            "A kind of accelerator that model servers may ask for.",
            displayName=string("What users choose it by."),
            enabled=boolean("Whether users may choose it."),
            identifier=string("The resource that a container asks for, such as nvidia.com/gpu."),
            description=string(),
            tolerations=_tolerations(),
        ),
        "displayName", "enabled", "identifier",
    )  # fmt: skip
    return _object(spec)


def dashboard_hardware_profile() -> Schema:
    spec = requiring(
        record(
            "Sizes and accelerators that model servers may ask for.",
            displayName=string("What users choose it by."),
            enabled=boolean("Whether users may choose it."),
            description=string(),
            identifiers=_identifiers(),
            tolerations=_tolerations(),
            nodeSelector=map_of(string()),
        ),
        "displayName", "enabled",
    )  # fmt: skip
    return _object(spec)


def hardware_profile() -> Schema:
    queue = record(
        "The queue that decides when what uses the profile starts.",
        localQueueName=string(),
        priorityClass=string(),
    )
    node = record(
        "Where what uses the profile may run.",
        nodeSelector=map_of(string()),
        tolerations=_tolerations(),
    )
    scheduling = record(
        type=string(enum=list(SCHEDULING_TYPES)),
        kueue=requiring(queue, "localQueueName"),
        node=node,
    )
    scheduling = requiring(scheduling, "type")
    scheduling["x-kubernetes-validations"] = [
        {
            "rule": "self.type == 'Queue' ? has(self.kueue) : !has(self.kueue)",
            "message": "kueue is given where the type is Queue, and only there",
        },
        {
            "rule": "self.type == 'Node' || !has(self.node)",
            "message": "node is given only where the type is Node",
        },
    ]
    spec = record(
        "Sizes and accelerators that model servers may ask for.",
        identifiers=_identifiers(),
        scheduling=scheduling,
    )
    return _object(spec)


def _object(spec: Schema) -> Schema:
    fields = {**strings("apiVersion", "kind"), "metadata": {"type": "object"}, "spec": spec}
    return requiring(record(**fields, status=open_schema()), "spec")


def _tolerations() -> Schema:
    return array(
        record(
            **strings("key", "value"),
            operator=string(enum=["Exists", "Equal"]),
            effect=string(enum=["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            tolerationSeconds=integer(format="int64"),
        )
    )


def _identifiers() -> Schema:
    counts = {name: {INT_OR_STRING: True} for name in ("minCount", "maxCount", "defaultCount")}
    identifier = record(
        **strings("displayName", "identifier"),
        **counts,
        resourceType=string(enum=list(RESOURCE_TYPES)),
    )
    return array(requiring(identifier, "displayName", "identifier", "minCount", "defaultCount"))


def _tolerations_cell(obj: Object, _: datetime) -> str:
    return f"{len(at(obj, 'spec', 'tolerations', default=()))} toleration(s)"


ACCELERATOR_PROFILE = Kind(
    group=DASHBOARD, version="v1", kind="AcceleratorProfile",
    plural="acceleratorprofiles", singular="acceleratorprofile",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    schema=accelerator_profile, validate=rules_of(accelerator_profile),
    columns=(
        column("Display Name", ".spec.displayName", "string"),
        column("Enabled", ".spec.enabled", "boolean"),
        column("Identifier", ".spec.identifier", "string"),
        Column("Tolerations", _tolerations_cell, description="How many tolerations it brings"),
    ),
)  # fmt: skip
DASHBOARD_HARDWARE_PROFILE = Kind(
    group=DASHBOARD, version="v1alpha1", kind="HardwareProfile",
    plural="hardwareprofiles", singular="hardwareprofile",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    schema=dashboard_hardware_profile, validate=rules_of(dashboard_hardware_profile),
    columns=(
        column("Display Name", ".spec.displayName", "string"),
        column("Enabled", ".spec.enabled", "boolean"),
        column("Identifiers", ".spec.identifiers[*].identifier", "string"),
        CUSTOM_AGE,
    ),
)  # fmt: skip
HARDWARE_PROFILE = Kind(
    group=INFRASTRUCTURE, version="v1", kind="HardwareProfile",
    plural="hardwareprofiles", singular="hardwareprofile",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    schema=hardware_profile, validate=rules_of(hardware_profile),
    columns=(
        column("Display Name", ".metadata.annotations.opendatahub\\.io/display-name", "string"),
        column("Identifiers", ".spec.identifiers[*].identifier", "string"),
        CUSTOM_AGE,
    ),
)  # fmt: skip

KINDS = (ACCELERATOR_PROFILE, DASHBOARD_HARDWARE_PROFILE, HARDWARE_PROFILE)
