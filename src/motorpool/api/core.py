"""The core group: namespaces, pods, services and what they need."""

from motorpool.api.kinds import STATUS, Kind, Subresource

NAMESPACE = Kind(
    group="", version="v1", kind="Namespace", plural="namespaces", singular="namespace",
    namespaced=False, short_names=("ns",), name_rule="label",
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(STATUS, Subresource("finalize", verbs=("update",))),
)  # fmt: skip
POD = Kind(
    group="", version="v1", kind="Pod", plural="pods", singular="pod",
    short_names=("po",), categories=("all",), delete_returns_object=True,
    subresources=(STATUS, Subresource("log", verbs=("get",))),
)  # fmt: skip
SERVICE = Kind(
    group="", version="v1", kind="Service", plural="services", singular="service",
    short_names=("svc",), categories=("all",), delete_returns_object=True,
    update_may_create=True, name_rule="label1035", subresources=(STATUS,),
)  # fmt: skip
CONFIG_MAP = Kind(
    group="", version="v1", kind="ConfigMap", plural="configmaps", singular="configmap",
    short_names=("cm",),
)  # fmt: skip
SECRET = Kind(group="", version="v1", kind="Secret", plural="secrets", singular="secret")
SERVICE_ACCOUNT = Kind(
    group="", version="v1", kind="ServiceAccount", plural="serviceaccounts",
    singular="serviceaccount", short_names=("sa",), delete_returns_object=True,
)  # fmt: skip
EVENT = Kind(
    group="", version="v1", kind="Event", plural="events", singular="event", short_names=("ev",),
    update_may_create=True,
)  # fmt: skip
NODE = Kind(
    group="", version="v1", kind="Node", plural="nodes", singular="node", namespaced=False,
    short_names=("no",), subresources=(STATUS,),
)  # fmt: skip

KINDS = (NAMESPACE, POD, SERVICE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT, NODE)
