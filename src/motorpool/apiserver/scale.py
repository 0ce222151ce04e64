"""The scale subresource: a small object that stands for ``spec.replicas`` of a larger one. Pure."""

from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.errors import invalid as invalid_object
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.api.selectors import LabelSelector

KEPT_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(parent: Object) -> Object:
    metadata = {k: v for k, v in parent["metadata"].items() if k in KEPT_METADATA}
    replicas = at(parent, "spec", "replicas", default=0)
    status: Object = {"replicas": at(parent, "status", "replicas", default=0)}
    selector = at(parent, "spec", "selector")
    if selector:
        status["selector"] = str(LabelSelector.from_object(selector))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def with_scale(kind: Kind, parent: Object, scale: Object) -> Object:
    """*parent* with the replicas, and the preconditions, of *scale*."""
    replicas = at(scale, "spec", "replicas", default=0)
    name = str(parent["metadata"]["name"])
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise BadRequest(
            'Scale in version "v1" cannot be handled as a Scale: spec.replicas: expected an integer'
        )
    if replicas < 0:
        text = "must be greater than or equal to 0"
        error = FieldError.invalid("spec.replicas", replicas, text)
        raise invalid_object("Scale", "autoscaling", name, [error])
    metadata = dict(parent["metadata"])
    for field in ("resourceVersion", "uid"):
        if scale["metadata"].get(field):
            metadata[field] = scale["metadata"][field]
    spec = {**(parent.get("spec") or {}), "replicas": replicas}
    return {**parent, "metadata": metadata, "spec": spec}
