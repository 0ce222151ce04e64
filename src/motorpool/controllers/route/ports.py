"""Whether a Route's targetPort can find a port of its Services. Pure.

The router matches targetPort against pods' ports, not against the Service's own port number. On
OpenShift a wrong one looks like any other 503; here the Route gets an event that says so.
"""

from collections.abc import Iterable
from typing import Any

from motorpool.api.meta import Object, at


def backend_names(route: Object) -> list[str]:
    """The Services of a Route, each once."""
    spec = route.get("spec") or {}
    backends = [spec.get("to") or {}, *(spec.get("alternateBackends") or ())]
    return list(dict.fromkeys(b["name"] for b in backends if b.get("name")))


def port_problem(route: Object, services: Iterable[Object]) -> str:
    """Which of the Services that exist has no such port, and which it has; "" where all have."""
    target = at(route, "spec", "port", "targetPort")
    if target in (None, "", 0):
        return ""
    for service in services:
        ports = at(service, "spec", "ports", default=())
        if ports and not any(_matches(port, target) for port in ports):
            listed = ", ".join(_described(port) for port in ports)
            name = service["metadata"]["name"]
            return (
                f"Service {name} has no pod port '{target}', so that requests get 503; "
                f"set spec.port.targetPort to one of: {listed}"
            )
    return ""


def _pod_port(port: Object) -> Any:
    return port.get("targetPort") or port.get("port")


def _matches(port: Object, target: Any) -> bool:
    if isinstance(target, int) or str(target).isdecimal():
        pod_port = _pod_port(port)
        # A named container port has a number that only the pods know.
        named = isinstance(pod_port, str) and not pod_port.isdecimal()
        return named or int(pod_port or 0) == int(target)
    return bool(port.get("name") == target)


def _described(port: Object) -> str:
    names = [str(part) for part in (port.get("name"), _pod_port(port)) if part]
    return " or ".join(dict.fromkeys(names))
