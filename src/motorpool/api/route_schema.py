"""The structural schema of Route. Pure."""

from typing import Any

from motorpool.api.kinds import Schema

BACKENDS_MAX = 3  # beside spec.to
HEADER_ACTIONS_MAX = 20
WEIGHT_MAX = 256


def schema() -> Schema:
    return _object(
        "Gives a Service a host name that the router answers for.",
        {
            "apiVersion": _string("The version of the API that this object follows."),
            "kind": _string("What this object is."),
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        required=("spec",),
    )


def _object(text: str, properties: dict[str, Any], *, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"description": text, "type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


def _string(text: str, **rules: Any) -> Schema:
    return {"description": text, "type": "string", **rules}


def _spec() -> Schema:
    return _object(
        "What the router should do.",
        {
            "host": _string(
                "The host name; NAME-NAMESPACE under the router's domain where it is left out.",
                maxLength=253,
            ),
            "subdomain": _string("A host name that the router completes with its own domain."),
            "path": _string("Only requests for this path and what lies below it."),
            "to": _backend("The Service that gets the requests."),
            "alternateBackends": {
                "description": "More Services that share the requests by weight.",
                "type": "array",
                "maxItems": BACKENDS_MAX,
                "items": _backend("A Service and its share."),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name", "kind"],
            },
            "port": _object(
                "Which of the pods' ports; all of them where it is left out.",
                {
                    "targetPort": {
                        "description": "The number of a pod's port, or the name of a Service's.",
                        "x-kubernetes-int-or-string": True,
                        "anyOf": [{"type": "integer"}, {"type": "string"}],
                    }
                },
                required=("targetPort",),
            ),
            "tls": _tls(),
            "wildcardPolicy": _string(
                "Whether the route is for all names below its host's parent.",
                enum=["None", "Subdomain", ""],
                default="None",
            ),
            "httpHeaders": _http_headers(),
        },
        required=("to",),
    )


def _backend(text: str) -> Schema:
    return _object(
        text,
        {
            "kind": _string("Always Service.", enum=["Service", ""], default="Service"),
            "name": _string("The name of the Service, in the route's namespace.", minLength=1),
            "weight": {
                "description": "Its share of the requests, relative to the other backends'.",
                "type": "integer",
                "format": "int32",
                "minimum": 0,
                "maximum": WEIGHT_MAX,
                "default": 100,
                "nullable": True,
            },
        },
        required=("name",),
    )


def _tls() -> Schema:
    return _object(
        "How the router serves https; only http where it is left out.",
        {
            "termination": _string(
                "Where TLS ends: edge, passthrough or reencrypt.",
                enum=["edge", "passthrough", "reencrypt", "Edge", "Passthrough", "Reencrypt", ""],
            ),
            "insecureEdgeTerminationPolicy": _string(
                "What becomes of plain http: None, Allow or Redirect.",
                enum=["Allow", "None", "Redirect", ""],
            ),
            "certificate": _string("The serving certificate as PEM."),
            "key": _string("The certificate's private key as PEM."),
            "caCertificate": _string("The certificate's chain as PEM."),
            "destinationCACertificate": _string("The authority of the pods' certificates as PEM."),
            "externalCertificate": _object(
                "The Secret that holds certificate and key.",
                {"name": _string("The name of the Secret.")},
            ),
        },
    )


def _http_headers() -> Schema:
    def actions(text: str) -> Schema:
        return {
            "description": text,
            "type": "array",
            "maxItems": HEADER_ACTIONS_MAX,
            "items": _object(
                "One header and what happens to it.",
                {
                    "name": _string("The header's name.", minLength=1, maxLength=255),
                    "action": _object(
                        "What happens to the header.",
                        {
                            "type": _string("Set or Delete.", enum=["Set", "Delete"]),
                            "set": _object(
                                "What Set writes.",
                                {
                                    "value": _string(
                                        "The header's value.", minLength=1, maxLength=16384
                                    )
                                },
                                required=("value",),
                            ),
                        },
                        required=("type",),
                    ),
                },
                required=("name", "action"),
            ),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        }

    both = {
        "request": actions("For requests on their way to the pod."),
        "response": actions("For answers on their way to the client."),
    }
    return _object(
        "Headers that the router sets or deletes.",
        {"actions": _object("By direction.", both)},
    )


def _status() -> Schema:
    condition = _object(
        "One observation.",
        {
            "type": _string("What was observed; Admitted tells whether the router serves it."),
            "status": _string("True, False or Unknown."),
            "reason": _string("The reason in one word."),
            "message": _string("The reason in a sentence."),
            "lastTransitionTime": _string("When status last changed.", format="date-time"),
        },
        required=("type", "status"),
    )
    ingress = _object(
        "What one router made of the route.",
        {
            "host": _string("The host name that it answers for."),
            "routerName": _string("The name of the router."),
            "routerCanonicalHostname": _string("The router's own host name."),
            "wildcardPolicy": _string("The wildcard policy in force."),
            "conditions": {
                "description": "What the router observed.",
                "type": "array",
                "items": condition,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    )
    return _object(
        "What the routers made of it.",
        {
            "ingress": {
                "description": "One entry per router.",
                "type": "array",
                "items": ingress,
            }
        },
    )
