"""The variables that lead a container to the Services of its namespace, as the kubelet has
them. Pure.

    NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_SERVICE_PORT_PORTNAME
    NAME_PORT, NAME_PORT_80_TCP, NAME_PORT_80_TCP_PROTO, _PORT, _ADDR      docker's form of old

Rules: only what leads somewhere: a port that the router does not serve has no variables, and a
Service without any such port has none. The API's own Service is a case of its own: a library that
sees KUBERNETES_SERVICE_HOST insists on a token at a path that only containers have (`access.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from motorpool.api.clusterips import routed_address, tcp_ports
from motorpool.api.meta import Object, at, name_of, namespace_of

API = ("default", "kubernetes")

IsServed: TypeAlias = Callable[[str, int], bool]
"""Whether a port of a cluster address leads to its Service."""

Links: TypeAlias = Callable[[Object], Mapping[str, str]]
"""The variables of a Pod whose container starts now."""


def service_variables(
    pod: Object, services: Iterable[Object], is_served: IsServed, *, has_token_path: bool
) -> dict[str, str]:
    """*has_token_path*: whether a library finds the token where it looks for it."""
    wanted = at(pod, "spec", "enableServiceLinks", default=True)
    found: dict[str, str] = {}
    for service in services:
        where = namespace_of(service), name_of(service)
        if where[1] == API[1]:
            is_linked = has_token_path and where == API
        else:
            is_linked = bool(wanted) and where[0] == namespace_of(pod)
        if is_linked:
            found |= variables_of(service, is_served)
    return found


def variables_of(service: Object, is_served: IsServed) -> dict[str, str]:
    address = routed_address(service)
    served = {int(p["port"]) for p in tcp_ports(service) if is_served(address, int(p["port"]))}
    if not address or not served:
        return {}
    prefix = _variable(name_of(service))
    found = {f"{prefix}_SERVICE_HOST": address}
    for position, port in enumerate(service["spec"]["ports"]):
        number = int(port["port"])
        if number not in served or port.get("protocol", "TCP") != "TCP":
            continue
        link, url = f"{prefix}_PORT_{number}_TCP", f"tcp://{address}:{number}"
        if position == 0:
            found |= {f"{prefix}_SERVICE_PORT": str(number), f"{prefix}_PORT": url}
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{_variable(port['name'])}"] = str(number)
        found |= {
            link: url,
            f"{link}_PROTO": "tcp",
            f"{link}_PORT": str(number),
            f"{link}_ADDR": address,
        }
    return found


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
