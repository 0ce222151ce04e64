"""The ReplicaSet of a template. Pure."""

from motorpool.api.meta import (
    Object,
    controller_reference,
    copy_of,
    labels_of,
    name_of,
    namespace_of,
)
from motorpool.workloads.deployment.template import HASH_LABEL, template_hash


def replica_set_of(
    deployment: Object, *, replicas: int, annotations: dict[str, str], collisions: int
) -> Object:
    """A new ReplicaSet, as it is to be created."""
    spec = deployment["spec"]
    digest = template_hash(spec["template"], collisions)
    template = copy_of(spec["template"])
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: digest}
    selector = copy_of(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    result: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": labels_of({"metadata": metadata}),
            "annotations": annotations,
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        result["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return result
