"""The core group: namespaces, pods, services and what they need."""

from motorpool.api import (
    claims,
    columns,
    networkcolumns,
    networkrules,
    podcolumns,
    pods,
    records,
    services,
    storagecolumns,
)
from motorpool.api.kinds import STATUS, Kind, Subresource
from motorpool.api.kubernetestypes import built_in
from motorpool.api.selectors import field_at

NAMESPACE = Kind(
    group="", version="v1", kind="Namespace", plural="namespaces", singular="namespace",
    namespaced=False, short_names=("ns",), name_rule="label",
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(STATUS, Subresource("finalize", verbs=("update",))),
    schema=built_in("", "v1", "Namespace"), columns=columns.NAMESPACE,
    selectable_fields={"status.phase": field_at("status", "phase")},
    default=records.default_namespace,
)  # fmt: skip
POD = Kind(
    group="", version="v1", kind="Pod", plural="pods", singular="pod",
    short_names=("po",), categories=("all",), delete_returns_object=True,
    subresources=(
        STATUS,
        Subresource("binding", verbs=("create",), version="v1", kind="Binding"),
        Subresource("eviction", verbs=("create",), group="policy", version="v1", kind="Eviction"),
        Subresource("log", verbs=("get",)),
        Subresource("attach", verbs=("create", "get"), kind="PodAttachOptions"),
        Subresource("exec", verbs=("create", "get"), kind="PodExecOptions"),
        Subresource("portforward", verbs=("create", "get"), kind="PodPortForwardOptions"),
    ),
    schema=built_in("", "v1", "Pod"),
    columns=podcolumns.COLUMNS, row_conditions=podcolumns.row_conditions,
    selectable_fields={
        "spec.nodeName": field_at("spec", "nodeName"),
        "spec.host": field_at("spec", "nodeName"),
        "spec.restartPolicy": field_at("spec", "restartPolicy"),
        "spec.schedulerName": field_at("spec", "schedulerName"),
        "spec.serviceAccountName": field_at("spec", "serviceAccountName"),
        "spec.hostNetwork": field_at("spec", "hostNetwork", default="false"),
        "status.phase": field_at("status", "phase"),
        "status.podIP": field_at("status", "podIP"),
        "status.podIPs": field_at("status", "podIP"),
        "status.nominatedNodeName": field_at("status", "nominatedNodeName"),
    },
    default=pods.default_pod, validate=pods.validate_pod,
)  # fmt: skip
SERVICE = Kind(
    group="", version="v1", kind="Service", plural="services", singular="service",
    short_names=("svc",), categories=("all",), delete_returns_object=True,
    update_may_create=True, name_rule="label1035", subresources=(STATUS,),
    schema=built_in("", "v1", "Service"), columns=columns.SERVICE,
    selectable_fields={
        "spec.clusterIP": field_at("spec", "clusterIP"),
        "spec.type": field_at("spec", "type"),
    },
    default=services.default_service, validate=services.validate_service,
)  # fmt: skip
CONFIG_MAP = Kind(
    group="", version="v1", kind="ConfigMap", plural="configmaps", singular="configmap",
    short_names=("cm",), schema=built_in("", "v1", "ConfigMap"), columns=columns.CONFIG_MAP,
    validate=records.validate_config_map,
)  # fmt: skip
SECRET = Kind(
    group="", version="v1", kind="Secret", plural="secrets", singular="secret",
    schema=built_in("", "v1", "Secret"), columns=columns.SECRET,
    selectable_fields={"type": field_at("type")},
    default=records.default_secret, validate=records.validate_secret,
)  # fmt: skip
SERVICE_ACCOUNT = Kind(
    group="", version="v1", kind="ServiceAccount", plural="serviceaccounts",
    singular="serviceaccount", short_names=("sa",), delete_returns_object=True,
    subresources=(
        Subresource("token", ("create",), "authentication.k8s.io", "v1", "TokenRequest"),
    ),
    schema=built_in("", "v1", "ServiceAccount"), columns=columns.SERVICE_ACCOUNT,
)  # fmt: skip
EVENT = Kind(
    group="", version="v1", kind="Event", plural="events", singular="event", short_names=("ev",),
    update_may_create=True, schema=built_in("", "v1", "Event"), columns=columns.EVENT,
    selectable_fields={
        **{
            f"involvedObject.{name}": field_at("involvedObject", name)
            for name in (
                "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath",
            )
        },
        "reason": field_at("reason"),
        "reportingComponent": field_at("reportingComponent"),
        "source": field_at("source", "component"),
        "type": field_at("type"),
    },
    validate=records.validate_event,
)  # fmt: skip
NODE = Kind(
    group="", version="v1", kind="Node", plural="nodes", singular="node", namespaced=False,
    short_names=("no",), subresources=(STATUS,),
    schema=built_in("", "v1", "Node"), columns=columns.NODE,
    selectable_fields={"spec.unschedulable": field_at("spec", "unschedulable", default="false")},
)  # fmt: skip

ENDPOINTS = Kind(
    group="", version="v1", kind="Endpoints", plural="endpoints", singular="endpoints",
    short_names=("ep",), update_may_create=True,
    schema=built_in("", "v1", "Endpoints"), columns=networkcolumns.ENDPOINTS,
    default=networkrules.default_endpoints, validate=networkrules.validate_endpoints,
)  # fmt: skip
PERSISTENT_VOLUME_CLAIM = Kind(
    group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims",
    singular="persistentvolumeclaim", short_names=("pvc",), delete_returns_object=True,
    subresources=(STATUS,), schema=built_in("", "v1", "PersistentVolumeClaim"),
    columns=storagecolumns.PERSISTENT_VOLUME_CLAIM,
    default=claims.default_claim, validate=claims.validate_claim,
)  # fmt: skip
PERSISTENT_VOLUME = Kind(
    group="", version="v1", kind="PersistentVolume", plural="persistentvolumes",
    singular="persistentvolume", namespaced=False, short_names=("pv",),
    delete_returns_object=True, subresources=(STATUS,),
    schema=built_in("", "v1", "PersistentVolume"), columns=storagecolumns.PERSISTENT_VOLUME,
    default=claims.default_volume, validate=claims.validate_volume,
)  # fmt: skip

KINDS = (
    NAMESPACE, POD, SERVICE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, NODE, ENDPOINTS,
    PERSISTENT_VOLUME_CLAIM, PERSISTENT_VOLUME,
)  # fmt: skip
