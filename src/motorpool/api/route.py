"""The route.openshift.io group: how the world reaches a Service.

Served as MicroShift serves it: as a custom resource, with its columns. A route without a host gets
one from the route controller, which knows the base domain; here such a route is only checked for
whether the host that it will get is a valid one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from motorpool.api.kinds import STATUS, Column, Kind
from motorpool.api.meta import Object, at
from motorpool.api.route_rules import validate
from motorpool.api.route_schema import schema

_TERMINATIONS = {"Edge": "edge", "Passthrough": "passthrough", "Reencrypt": "reencrypt"}


def default_route(route: Object) -> None:
    spec = route.get("spec")
    if not isinstance(spec, dict):
        return
    if not spec.get("wildcardPolicy"):
        spec["wildcardPolicy"] = "None"
    for backend in (spec.get("to"), *(spec.get("alternateBackends") or ())):
        if isinstance(backend, dict):
            backend["kind"] = backend.get("kind") or "Service"
            if backend.get("weight") is None:
                backend["weight"] = 100
    _default_tls(spec.get("tls"))
    for ingress in at(route, "status", "ingress", default=()):
        if isinstance(ingress, dict) and not ingress.get("wildcardPolicy"):
            ingress["wildcardPolicy"] = "None"


def _default_tls(tls: Any) -> None:
    if not isinstance(tls, dict):
        return
    termination = tls.get("termination") or ""
    if not termination and not tls.get("destinationCACertificate"):
        tls["termination"] = "edge"
    elif termination in _TERMINATIONS:
        tls["termination"] = _TERMINATIONS[termination]


def _first_ingress(route: Object) -> Object:
    ingresses = at(route, "status", "ingress", default=())
    return dict(ingresses[0]) if ingresses else {}


def _admitted(route: Object) -> str | None:
    for condition in _first_ingress(route).get("conditions") or ():
        if condition.get("type") == "Admitted":
            return str(condition.get("status"))
    return None


def _column(name: str, text: str, cell: Callable[[Object], Any]) -> Column:
    def value(route: Object, _: datetime) -> Any:
        return cell(route)

    return Column(name, value, description=text)


ROUTE = Kind(
    group="route.openshift.io", version="v1", kind="Route", plural="routes", singular="route",
    categories=("all",), subresources=(STATUS,),
    is_custom=True, has_generation=True, update_needs_resource_version=True,
    schema=schema, default=default_route, validate=validate,
    columns=(
        _column("Host", "The host that the router answers for.",
                lambda o: _first_ingress(o).get("host")),
        _column("Admitted", "Whether the router serves the route.", _admitted),
        _column("Service", "The Service behind the route.", lambda o: at(o, "spec", "to", "name")),
        # OpenShift's own definition of this column reads a field that does not exist.
        _column("TLS", "The kind of TLS.", lambda o: at(o, "spec", "tls", "type")),
    ),
)  # fmt: skip

KINDS = (ROUTE,)
