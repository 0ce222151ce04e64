"""One pod behind one Service: its addresses, its conditions, its ports. Pure.

A pod that is told to go is no longer ready at once, whatever its probe says, so that no new request
is sent to it; `serving` and `terminating` tell a router that has nobody else that it still answers.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from motorpool.api.meta import Object, at, is_deleting, name_of, namespace_of, uid_of
from motorpool.api.podstatus import is_ready, is_terminal

Ports: TypeAlias = tuple[tuple[tuple[str, Any], ...], ...]
"""The ports of a slice as a value that can be compared: pods that differ in it part company."""


def addresses_of(pod: Object) -> list[str]:
    """Its IPv4 addresses."""
    ips = [entry.get("ip", "") for entry in at(pod, "status", "podIPs", default=())]
    return [ip for ip in ips or [at(pod, "status", "podIP", default="")] if ip and ":" not in ip]


def is_endpoint(pod: Object) -> bool:
    return not is_terminal(pod) and bool(addresses_of(pod))


def endpoint_of(service: Object, pod: Object) -> Object:
    serving, terminating = is_ready(pod), is_deleting(pod)
    publishes = bool(at(service, "spec", "publishNotReadyAddresses", default=False))
    endpoint: Object = {
        "addresses": addresses_of(pod)[:1],
        "conditions": {
            "ready": publishes or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": namespace_of(pod),
            "name": name_of(pod),
            "uid": uid_of(pod),
        },
    }
    node = at(pod, "spec", "nodeName")
    if node:
        endpoint["nodeName"] = node
    hostname = at(pod, "spec", "hostname")
    if hostname and at(pod, "spec", "subdomain") == name_of(service):
        endpoint["hostname"] = hostname
    return endpoint


def ports_of(service: Object, pod: Object) -> Ports:
    """The Service's ports as this pod has them; a named port that it lacks is left out."""
    found = []
    for port in at(service, "spec", "ports", default=()):
        number = _number(port, pod)
        if number is not None:
            entry = {
                "name": port.get("name") or "",
                "port": number,
                "protocol": port.get("protocol") or "TCP",
                "appProtocol": port.get("appProtocol"),
            }
            found.append(tuple((k, v) for k, v in entry.items() if v is not None))
    return tuple(found)


def _number(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    for container in _containers(pod):
        for offered in container.get("ports") or ():
            same_protocol = offered.get("protocol", "TCP") == port.get("protocol", "TCP")
            if offered.get("name") == target and same_protocol:
                return int(offered["containerPort"])
    return None


def _containers(pod: Object) -> Iterator[Object]:
    yield from at(pod, "spec", "containers", default=())
    sidecars: Iterable[Object] = at(pod, "spec", "initContainers", default=())
    yield from (each for each in sidecars if each.get("restartPolicy") == "Always")
