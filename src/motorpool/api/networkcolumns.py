"""What ``kubectl get`` shows of Ingresses, NetworkPolicies and Endpoints. Pure."""

from datetime import datetime

from motorpool.api.columns import listed
from motorpool.api.kinds import Column
from motorpool.api.meta import Object, at
from motorpool.api.selectors import LabelSelector
from motorpool.api.tables import AGE, NAME


def _class(obj: Object, _: datetime) -> str:
    return str(at(obj, "spec", "ingressClassName") or "<none>")


def _hosts(obj: Object, _: datetime) -> str:
    hosts = [rule.get("host") for rule in at(obj, "spec", "rules", default=())]
    return listed([host for host in hosts if host], "*")


def _balanced(obj: Object, _: datetime) -> str:
    entries = at(obj, "status", "loadBalancer", "ingress", default=())
    return ",".join(entry.get("ip") or entry.get("hostname") or "" for entry in entries)


def _ingress_ports(obj: Object, _: datetime) -> str:
    return "80, 443" if at(obj, "spec", "tls") else "80"


INGRESS = (
    NAME,
    Column("Class", _class, description="Who serves it"),
    Column("Hosts", _hosts, description="The hosts that it has rules for"),
    Column("Address", _balanced, description="Where it is reached"),
    Column("Ports", _ingress_ports, description="The ports that it is reached at"),
    AGE,
)


def _parameters(obj: Object, _: datetime) -> str:
    parameters = at(obj, "spec", "parameters")
    if not parameters:
        return "<none>"
    group = parameters.get("apiGroup")
    kind = parameters.get("kind", "")
    return f"{kind}{'.' + group if group else ''}/{parameters.get('name', '')}"


INGRESS_CLASS = (
    NAME,
    Column(
        "Controller",
        lambda obj, _: at(obj, "spec", "controller", default=""),
        description="Who serves the Ingresses of this class",
    ),
    Column("Parameters", _parameters, description="What the controller is told"),
    AGE,
)


def _pods(obj: Object, _: datetime) -> str:
    selector = at(obj, "spec", "podSelector", default={})
    return str(LabelSelector.from_object(selector)) or "<none>"


NETWORK_POLICY = (
    NAME,
    Column("Pod-Selector", _pods, description="The pods that it is about"),
    AGE,
)


def _endpoints(obj: Object, _: datetime) -> str:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        for port in ports:
            found += [_joined(address, port.get("port")) for address in addresses]
    return listed(found, "<none>")


def _joined(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


ENDPOINTS = (
    NAME,
    Column("Endpoints", _endpoints, description="Where those that are ready answer"),
    AGE,
)
