"""What ``kubectl get`` shows of the built-in kinds other than pods. Pure."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from motorpool.api.duration import since
from motorpool.api.kinds import Column
from motorpool.api.meta import Object, at
from motorpool.api.selectors import LabelSelector
from motorpool.api.tables import AGE, NAME

Cell = Callable[[Object, datetime], Any]

_LISTED_MAX = 3  # entries of a list that a cell names before it says how many more there are


def _at(*path: str, default: Any = "<none>") -> Cell:
    return lambda obj, _: at(obj, *path) or default


def _count(*path: str) -> Cell:
    return lambda obj, _: at(obj, *path, default=0)


def _containers(field: str) -> Cell:
    def cell(obj: Object, _: datetime) -> str:
        containers = at(obj, "spec", "template", "spec", "containers", default=())
        return ",".join(str(container.get(field, "")) for container in containers)

    return cell


def _selector(obj: Object, _: datetime) -> str:
    return str(LabelSelector.from_object(at(obj, "spec", "selector", default={}))) or "<none>"


TEMPLATE = (
    Column("Containers", _containers("name"), priority=1, description="Names in the template"),
    Column("Images", _containers("image"), priority=1, description="Images in the template"),
    Column("Selector", _selector, priority=1, description="Which pods belong here"),
)


def _deployment_ready(obj: Object, _: datetime) -> str:
    ready = at(obj, "status", "readyReplicas", default=0)
    return f"{ready}/{at(obj, 'spec', 'replicas', default=0)}"


DEPLOYMENT = (
    NAME,
    Column("Ready", _deployment_ready, description="Pods that are ready, of those wanted"),
    Column("Up-to-date", _count("status", "updatedReplicas"), description="Pods of this template"),
    Column("Available", _count("status", "availableReplicas"), description="Pods that may serve"),
    AGE,
    *TEMPLATE,
)

REPLICA_SET = (
    NAME,
    Column("Desired", _count("spec", "replicas"), "integer", description="Pods wanted"),
    Column("Current", _count("status", "replicas"), "integer", description="Pods that exist"),
    Column("Ready", _count("status", "readyReplicas"), "integer", description="Pods that serve"),
    AGE,
    *TEMPLATE,
)


def _cluster_ip(obj: Object, _: datetime) -> str:
    ips = at(obj, "spec", "clusterIPs", default=())
    return (ips[0] if ips else at(obj, "spec", "clusterIP")) or "<none>"


def _external_ip(obj: Object, _: datetime) -> str:
    kind = at(obj, "spec", "type", default="ClusterIP")
    if kind == "ExternalName":
        return str(at(obj, "spec", "externalName", default=""))
    external = list(at(obj, "spec", "externalIPs", default=()))
    if kind == "LoadBalancer":
        ingress = at(obj, "status", "loadBalancer", "ingress", default=())
        balanced = sorted({entry.get("ip") or entry.get("hostname", "") for entry in ingress})
        return ",".join([*balanced, *external]) or "<pending>"
    return ",".join(external) or "<none>"


def _service_ports(obj: Object, _: datetime) -> str:
    texts = []
    for port in at(obj, "spec", "ports", default=()):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


def _service_selector(obj: Object, _: datetime) -> str:
    labels = at(obj, "spec", "selector", default={})
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"


SERVICE = (
    NAME,
    Column("Type", _at("spec", "type", default="ClusterIP"), description="How it is reached"),
    Column("Cluster-IP", _cluster_ip, description="The address inside the cluster"),
    Column("External-IP", _external_ip, description="Addresses outside the cluster"),
    Column("Port(s)", _service_ports, description="Ports that it serves"),
    AGE,
    Column("Selector", _service_selector, priority=1, description="Which pods answer"),
)


def listed(texts: Iterable[str], empty: str) -> str:
    every = list(texts)
    shown = ",".join(every[:_LISTED_MAX])
    if len(every) > _LISTED_MAX:
        return f"{shown} + {len(every) - _LISTED_MAX} more..."
    return shown or empty


def _slice_ports(obj: Object, _: datetime) -> str:
    ports = obj.get("ports") or ()
    return listed((str(p.get("port") or p.get("name") or "*") for p in ports), "<unset>")


def _slice_endpoints(obj: Object, _: datetime) -> str:
    endpoints = obj.get("endpoints") or ()
    return listed((ip for e in endpoints for ip in e.get("addresses") or ()), "<unset>")


ENDPOINT_SLICE = (
    NAME,
    Column("AddressType", _at("addressType", default=""), description="What the addresses are"),
    Column("Ports", _slice_ports, description="Ports of every endpoint"),
    Column("Endpoints", _slice_endpoints, description="Addresses of the endpoints"),
    AGE,
)

NAMESPACE = (
    NAME,
    Column("Status", _at("status", "phase", default=""), description="Active or Terminating"),
    AGE,
)

CONFIG_MAP = (
    NAME,
    Column(
        "Data",
        lambda obj, _: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
        description="How many keys it has",
    ),
    AGE,
)

SECRET = (
    NAME,
    Column("Type", _at("type", default=""), description="What it is for"),
    Column("Data", lambda obj, _: len(obj.get("data") or ()), description="How many keys it has"),
    AGE,
)

SERVICE_ACCOUNT = (
    NAME,
    Column(
        "Secrets",
        lambda obj, _: len(obj.get("secrets") or ()),
        description="How many secrets it lists",
    ),
    AGE,
)

LEASE = (
    NAME,
    Column("Holder", _at("spec", "holderIdentity", default=""), description="Who holds it"),
    AGE,
)


def _first_seen(obj: Object, now: datetime) -> str:
    return since(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _last_seen(obj: Object, now: datetime) -> str:
    if obj.get("series"):
        return since(at(obj, "series", "lastObservedTime"), now)
    last = obj.get("lastTimestamp")
    return since(last, now) if last else _first_seen(obj, now)


def _involved(obj: Object, _: datetime) -> str:
    kind = str(at(obj, "involvedObject", "kind", default="")).lower()
    name = str(at(obj, "involvedObject", "name", default=""))
    return f"{kind}/{name}" if kind else name


def _source(obj: Object, _: datetime) -> str:
    component = at(obj, "source", "component") or obj.get("reportingComponent") or ""
    host = at(obj, "source", "host") or (obj.get("reportingInstance") or "")
    if not at(obj, "source", "component"):
        host = at(obj, "source", "host", default="")
    return ", ".join(text for text in (str(component), str(host)) if text)


def _event_count(obj: Object, _: datetime) -> int:
    if obj.get("series"):
        return int(at(obj, "series", "count", default=0))
    return int(obj.get("count") or 1)


EVENT = (
    Column("Last Seen", _last_seen, description="How long ago it happened last"),
    Column("Type", _at("type", default=""), description="Normal or Warning"),
    Column("Reason", _at("reason", default=""), description="Why, in one word"),
    Column("Object", _involved, description="What it happened to"),
    Column(
        "Subobject",
        _at("involvedObject", "fieldPath", default=""),
        priority=1,
        description="The part of the object",
    ),
    Column("Source", _source, priority=1, description="Who tells"),
    Column(
        "Message",
        lambda obj, _: str(obj.get("message") or "").strip(),
        description="What happened, in words",
    ),
    Column("First Seen", _first_seen, priority=1, description="How long ago it happened first"),
    Column("Count", _event_count, priority=1, description="How often it happened"),
    Column("Name", NAME.cell, priority=1, format="name", description=NAME.description),
)


def _node_status(obj: Object, _: datetime) -> str:
    conditions = at(obj, "status", "conditions", default=())
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    text = "Unknown"
    if ready is not None:
        text = "Ready" if ready.get("status") == "True" else "NotReady"
    return text + (",SchedulingDisabled" if at(obj, "spec", "unschedulable") else "")


def _node_roles(obj: Object, _: datetime) -> str:
    roles = set()
    for key, value in (obj["metadata"].get("labels") or {}).items():
        if key.startswith("node-role.kubernetes.io/"):
            roles.add(key.removeprefix("node-role.kubernetes.io/"))
        elif key == "kubernetes.io/role" and value:
            roles.add(value)
    return ",".join(sorted(roles - {""})) or "<none>"


def _node_address(kind: str) -> Cell:
    def cell(obj: Object, _: datetime) -> str:
        addresses = at(obj, "status", "addresses", default=())
        return next((a["address"] for a in addresses if a.get("type") == kind), "<none>")

    return cell


def _node_info(field: str) -> Cell:
    return _at("status", "nodeInfo", field, default="<unknown>")


NODE = (
    NAME,
    Column("Status", _node_status, description="Whether pods may run there"),
    Column("Roles", _node_roles, description="What the node is for"),
    AGE,
    Column(
        "Version",
        _at("status", "nodeInfo", "kubeletVersion", default=""),
        description="Of the agent on the node",
    ),
    Column("Internal-IP", _node_address("InternalIP"), priority=1, description="Address inside"),
    Column("External-IP", _node_address("ExternalIP"), priority=1, description="Address outside"),
    Column("OS-Image", _node_info("osImage"), priority=1, description="Its operating system"),
    Column("Kernel-Version", _node_info("kernelVersion"), priority=1, description="Its kernel"),
    Column(
        "Container-Runtime",
        _node_info("containerRuntimeVersion"),
        priority=1,
        description="What runs the containers",
    ),
)
