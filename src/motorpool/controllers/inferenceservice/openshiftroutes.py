"""The Route of an exposed InferenceService, as OpenShift AI makes it. Pure.

The host is left to whoever gives Routes their host. A Route that a user made is his, but where it
leads to a protected service it has to speak TLS to the proxy: that much of it is changed, and later
changed back; an annotation keeps what it was.
"""

import json

from motorpool.api.meta import (
    Object,
    annotations_of,
    at,
    controller_reference,
    name_of,
    namespace_of,
)
from motorpool.controllers.inferenceservice.names import COMPONENTS
from motorpool.controllers.inferenceservice.protection import PORT, PORT_NAME

TIMEOUT_ANNOTATION = "haproxy.router.openshift.io/timeout"
TIMEOUT_S = 30
BEFORE_ANNOTATION = "motorpool.dev/before-authentication"


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
            "tls": {
                "termination": "reencrypt" if _is_protected(service) else "edge",
                "insecureEdgeTerminationPolicy": "Redirect",
            },
            "wildcardPolicy": "None",
        },
    }


def leading(route: Object, service: str, *, is_protected: bool) -> Object | None:
    """The merge patch that leads a user's Route to the proxy of *service*, or back.

    None where it is right. One that leads elsewhere, too or only, is left alone, and so is one that
    passes TLS through: whoever wrote that chose where it ends.
    """
    spec = route.get("spec") or {}
    if at(spec, "to", "name") != service or spec.get("alternateBackends"):
        return None
    before = annotations_of(route).get(BEFORE_ANNOTATION)
    if not is_protected:
        return _given_back(before) if before is not None else None
    tls, port = spec.get("tls") or {}, at(spec, "port", "targetPort")
    if tls.get("termination") == "passthrough":
        return None
    if tls.get("termination") == "reencrypt" and port in (PORT_NAME, PORT):
        return None
    changed: Object = {"termination": "reencrypt"}
    if not tls:
        changed["insecureEdgeTerminationPolicy"] = "Redirect"
    patch: Object = {"spec": {"tls": changed, "port": {"targetPort": PORT_NAME}}}
    if not (before is not None and tls.get("termination") == "reencrypt"):
        # What the user wrote, be it again: it is what he gets back.
        kept = {"targetPort": port, "termination": tls.get("termination")}
        patch["metadata"] = {"annotations": {BEFORE_ANNOTATION: json.dumps(kept)}}
    return patch


def _given_back(before: str) -> Object:
    try:
        kept = json.loads(before)
        port, termination = kept["targetPort"], kept["termination"]
    except (ValueError, KeyError, TypeError):
        port, termination = None, "edge"
    return {
        "metadata": {"annotations": {BEFORE_ANNOTATION: None}},
        "spec": {
            "tls": {"termination": termination} if termination else None,
            "port": {"targetPort": port} if port else None,
        },
    }


def _is_protected(service: Object) -> bool:
    return any(port.get("targetPort") == PORT_NAME for port in service["spec"]["ports"])


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
