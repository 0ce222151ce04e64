"""The Route of an exposed InferenceService, as OpenShift AI makes it. Pure.

The host is left to whoever gives Routes their host.
"""

from motorpool.api.meta import (
    Object,
    annotations_of,
    at,
    controller_reference,
    name_of,
    namespace_of,
)
from motorpool.controllers.inferenceservice.names import COMPONENTS

TIMEOUT_ANNOTATION = "haproxy.router.openshift.io/timeout"
TIMEOUT_S = 30


def openshift_route(isvc: Object, service: Object) -> Object:
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {
            "name": name_of(isvc),
            "namespace": namespace_of(isvc),
            "labels": {"inferenceservice-name": name_of(isvc)},
            "annotations": {TIMEOUT_ANNOTATION: _timeout(isvc)},
            "ownerReferences": [controller_reference(isvc)],
        },
        "spec": {
            "to": {"kind": "Service", "name": name_of(service), "weight": 100},
            "port": {"targetPort": _target_port(service)},
            "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"},
            "wildcardPolicy": "None",
        },
    }


def _timeout(isvc: Object) -> str:
    given = annotations_of(isvc).get(TIMEOUT_ANNOTATION)
    if given:
        return given
    present = [at(isvc, "spec", component) for component in COMPONENTS]
    return f"{sum(int(c.get('timeout') or TIMEOUT_S) for c in present if c)}s"


def _target_port(service: Object) -> str | int:
    """The port named http, else the first that has a name, else its number."""
    ports = service["spec"]["ports"]
    names = [port["name"] for port in ports if port.get("name")]
    if "http" in names:
        return "http"
    return str(names[0]) if names else int(ports[0]["targetPort"])
