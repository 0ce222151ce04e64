"""The Ingress of an InferenceService. Pure.

Each host leads to what it is named for: that of the InferenceService to its entry, that of a
component to this component. Annotations are the user's, which is how an ingress controller is told
its settings.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object, annotations_of, controller_reference, name_of, namespace_of
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.hosts import checked_host

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def ingress(isvc: Object, services: Sequence[str], config: Config) -> Object:
    """*services*: that of the entry is the last of predictor and transformer. Raises Refusal."""
    entry = next((name for name in services if name.endswith("-transformer")), services[0])
    backends = {checked_host(isvc, name_of(isvc), config): entry}
    for name in services:
        backends.setdefault(checked_host(isvc, name, config), name)
    spec: Object = {"rules": [_rule(host, service) for host, service in backends.items()]}
    if config.ingress_class is not None:
        spec["ingressClassName"] = config.ingress_class
    annotations = {k: v for k, v in annotations_of(isvc).items() if k != LAST_APPLIED}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name_of(isvc),
            "namespace": namespace_of(isvc),
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [controller_reference(isvc)],
        },
        "spec": spec,
    }


def _rule(host: str, service: str) -> Object:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {"host": host, "http": {"paths": [path]}}
