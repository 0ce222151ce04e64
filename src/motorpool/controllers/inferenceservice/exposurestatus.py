"""What the objects that expose an InferenceService say: IngressReady and its URLs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from motorpool.api.conditions import is_true
from motorpool.api.meta import Object, at, name_of, namespace_of
from motorpool.api.serving_fields import wants_authentication
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.exposure import (
    GATEWAY,
    INGRESS,
    INTERNAL,
    KINDS,
    ROUTE,
    entry_of,
    way_of,
)
from motorpool.controllers.inferenceservice.hosts import host_of
from motorpool.controllers.inferenceservice.names import (
    COMPONENTS,
    cluster_host,
    component_name,
)
from motorpool.controllers.inferenceservice.protection import PORT

INGRESS_READY = "IngressReady"
PREDICTOR_READY = "PredictorReady"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """The objects as they are, and where the router listens."""

    served: frozenset[str] = frozenset()
    objects: Sequence[Object] = ()
    http_port: int = 80
    https_port: int = 443

    def objects_named(self, kind: str, name: str) -> list[Object]:
        return [obj for obj in self.objects if obj["kind"] == kind and name_of(obj) == name]


def ingress_condition(
    isvc: Object, components: Sequence[Object], config: Config, exposed: Exposed
) -> Object:
    """Whether what leads to the components exists."""
    way = way_of(isvc, config, exposed.served)
    for condition in components:
        # Inside the cluster the predictor needs no way in, but a transformer in front of it is one.
        if way == INTERNAL and condition["type"] == PREDICTOR_READY:
            continue
        if condition["status"] != "True":
            return _not_yet(str(condition["type"]).removesuffix("Ready"), way)
    if way == ROUTE:
        return _of_route(_named(exposed, KINDS[ROUTE], name_of(isvc)))
    if way != INTERNAL and KINDS[way] not in exposed.served:
        return _not_served(way)
    if way == GATEWAY:
        return _of_http_routes(isvc, exposed)
    return {"type": INGRESS_READY, "status": "True"}


def url_of(isvc: Object, config: Config, exposed: Exposed) -> str:
    """Where the world, or else the cluster, reaches it; "" while a Route has no host yet."""
    way = way_of(isvc, config, exposed.served)
    if way == INTERNAL:
        host = cluster_host(component_name(isvc, entry_of(isvc)), namespace_of(isvc))
        return protected_url(host) if wants_authentication(isvc) else f"http://{host}"
    if way == ROUTE:
        route = _named(exposed, KINDS[ROUTE], name_of(isvc))
        return _url_of_route(route, exposed) or _kept_url(isvc, route)
    return f"{config.url_scheme}://{host_of(isvc, name_of(isvc), config)}"


def protected_url(host: str) -> str:
    """Of the proxy: the one port that a protected Service has."""
    return f"https://{host}:{PORT}"


def component_host(isvc: Object, component: str, config: Config, exposed: Exposed) -> str:
    name = component_name(isvc, component)
    if way_of(isvc, config, exposed.served) in (INTERNAL, ROUTE):
        return cluster_host(name, namespace_of(isvc))
    return host_of(isvc, name, config)


def _not_yet(component: str, way: str) -> Object:
    if way != GATEWAY:
        reason = f"{component} ingress not created"
        return {"type": INGRESS_READY, "status": "False", "reason": reason}
    return {
        "type": INGRESS_READY,
        "status": "False",
        "reason": f"{component} Deployment NotReady",
        "message": f"{component} HTTPRoute leads to a Deployment that is not ready",
    }


def _not_served(way: str) -> Object:
    kind = KINDS[way]
    other = "" if way == INGRESS else "install the Gateway API, or "
    return {
        "type": INGRESS_READY,
        "status": "False",
        "reason": f"{kind}NotServed",
        "message": f"this API has no {kind}: {other}set ingress.disableIngressCreation to true in "
        "ConfigMap inferenceservice-config and create a Route",
    }


def _of_route(route: Object | None) -> Object:
    verdicts = [
        condition
        for ingress in at(route, "status", "ingress", default=())
        for condition in ingress.get("conditions") or ()
        if condition.get("type") == "Admitted"
    ]
    if any(verdict.get("status") == "True" for verdict in verdicts):
        return {"type": INGRESS_READY, "status": "True"}
    said: Object = next((verdict for verdict in verdicts if verdict.get("message")), {})
    return {
        "type": INGRESS_READY,
        "status": "False",
        "reason": said.get("reason") or "RouteNotAdmitted",
        "message": said.get("message") or "the Route is not admitted yet",
    }


def _url_of_route(route: Object | None, exposed: Exposed) -> str:
    if route is None or _of_route(route)["status"] != "True":
        return ""
    host = at(route, "status", "ingress")[0].get("host") or at(route, "spec", "host", default="")
    secure = at(route, "spec", "tls") is not None
    port, usual = (exposed.https_port, 443) if secure else (exposed.http_port, 80)
    scheme = "https" if secure else "http"
    return f"{scheme}://{host}" + ("" if port in (0, usual) else f":{port}")


def _kept_url(isvc: Object, route: Object | None) -> str:
    """The URL that was known, while the Route of that host is not admitted."""
    known, host = str(at(isvc, "status", "url", default="")), at(route, "spec", "host", default="")
    return known if host and known.partition("://")[2].partition(":")[0] == host else ""


def _of_http_routes(isvc: Object, exposed: Exposed) -> Object:
    """Every route must be accepted by its parent."""
    wanted = [("InferenceService", name_of(isvc))]
    present = [component for component in COMPONENTS if at(isvc, "spec", component)]
    wanted = [*((c.capitalize(), component_name(isvc, c)) for c in present), *wanted]
    for title, name in wanted:
        route = _named(exposed, KINDS[GATEWAY], name)
        parents = at(route, "status", "parents", default=())
        if not parents:
            return _waiting("ParentStatusNotAvailable", f"{title} HTTPRoute {name} has no parent "
                            "that took it: check the Gateway that it names")  # fmt: skip
        for parent in parents:
            if is_true({"status": parent}, "Accepted"):
                continue
            told = [c for c in parent.get("conditions") or () if c.get("type") == "Accepted"]
            why = told[0].get("message") or told[0].get("reason") if told else "not accepted yet"
            return _waiting("HttpRouteNotReady", f"{title} HTTPRoute {name}: {why}")
    return {"type": INGRESS_READY, "status": "True"}


def _waiting(reason: str, message: str) -> Object:
    return {"type": INGRESS_READY, "status": "False", "reason": reason, "message": message}


def _named(exposed: Exposed, kind: str, name: str) -> Object | None:
    return next(iter(exposed.objects_named(kind, name)), None)
