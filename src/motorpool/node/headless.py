"""Ports of Services without an address, behind which clients look in the Pod itself. Pure.

kubectl asks the Pod for the Service's own port where the Service has no address, as KServe's have:
``port-forward svc/NAME 8080:80`` then meets a port at which no container listens.
"""

from collections.abc import Iterable

from motorpool.api.meta import Object, at, labels_of, name_of, namespace_of


def target_port(pod: Object, port: int, services: Iterable[Object]) -> int | None:
    """The Pod's port behind *port* of a headless Service that selects it; None where none does."""
    for service in sorted(services, key=name_of):
        selector = at(service, "spec", "selector", default={})
        if (
            at(service, "spec", "clusterIP") != "None"
            or namespace_of(service) != namespace_of(pod)
            or not selector
            or not selector.items() <= labels_of(pod).items()
        ):
            continue
        for entry in at(service, "spec", "ports", default=()):
            if entry.get("port") == port:
                return _number(pod, entry.get("targetPort", port))
    return None


def _number(pod: Object, target: object) -> int | None:
    if isinstance(target, int):
        return target
    for container in at(pod, "spec", "containers", default=()):
        for declared in container.get("ports") or ():
            if declared.get("name") == target:
                return int(declared["containerPort"])
    return None
