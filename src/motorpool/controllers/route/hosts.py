"""Which host name a Route is for. Pure.

On OpenShift the API server writes a missing host when the Route is created. Here the API server is
a pure function of the object and does not know the base domain, so the route controller writes it,
once, with the same annotation; from then on it stands in the spec like any other.
"""

from motorpool.api.meta import Object
from motorpool.api.route_rules import generated_label, wants_generated_host

GENERATED = "openshift.io/host.generated"


def router_domain(base_domain: str) -> str:
    return f"apps.{base_domain}"


def router_hostname(base_domain: str) -> str:
    """The router's own name."""
    return f"router-default.{router_domain(base_domain)}"


def effective_host(route: Object, base_domain: str) -> str:
    """The host that the router is to answer for; "" where the Route names none."""
    spec = route.get("spec") or {}
    if spec.get("host"):
        return str(spec["host"])
    if spec.get("subdomain"):
        return f"{spec['subdomain']}.{router_domain(base_domain)}"
    if wants_generated_host(route):
        return f"{generated_label(route)}.{router_domain(base_domain)}"
    return ""


def host_patch(route: Object, base_domain: str) -> Object | None:
    """The merge patch that writes a missing host; None where nothing is missing."""
    if not wants_generated_host(route):
        return None
    metadata: Object = {"annotations": {GENERATED: "true"}}
    if "resourceVersion" in route["metadata"]:
        # Whoever set a host meanwhile wins.
        metadata["resourceVersion"] = route["metadata"]["resourceVersion"]
    return {"metadata": metadata, "spec": {"host": effective_host(route, base_domain)}}
