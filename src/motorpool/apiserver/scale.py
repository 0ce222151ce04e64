"""The scale subresource: a small object that stands for ``spec.replicas`` of a larger one. Pure."""

from collections.abc import Sequence

from motorpool.api.errors import BadRequest, FieldError, InternalError
from motorpool.api.errors import invalid as invalid_object
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.api.selectors import LabelSelector

KEPT_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def check_scalable(kind: Kind, parent: Object) -> None:
    """Raises InternalError for a custom resource that has no replicas."""
    path = kind.scale.spec_replicas
    if kind.scale.is_custom and at(parent, *path) is None:
        text = f'the spec replicas field "{".".join(("", *path))}" does not exist'
        causes = {"causes": [{"message": text}]}
        raise InternalError(f"Internal error occurred: {text}", details=causes)


def scale_of(kind: Kind, parent: Object) -> Object:
    paths = kind.scale
    metadata = {k: v for k, v in parent["metadata"].items() if k in KEPT_METADATA}
    replicas = at(parent, *paths.spec_replicas)
    status: Object = {"replicas": at(parent, *paths.status_replicas, default=0)}
    selector = at(parent, *paths.selector) if paths.selector else None
    if isinstance(selector, str):
        status["selector"] = selector
    elif selector:
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
    return {**_with(parent, kind.scale.spec_replicas, replicas), "metadata": metadata}


def _with(value: Object, path: Sequence[str], replicas: int) -> Object:
    if len(path) == 1:
        return {**value, path[0]: replicas}
    return {**value, path[0]: _with(value.get(path[0]) or {}, path[1:], replicas)}
