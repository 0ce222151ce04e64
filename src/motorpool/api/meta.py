"""Object metadata, shared by every kind. Pure.

Objects travel as plain JSON (`dict`), so that nothing a user wrote is lost. Code that decides on a
field reads it here or through a small typed view beside the decision.

Rule: an object that came out of an informer or a store is shared. Copy before you change it.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON: at least ``apiVersion``, ``kind`` and ``metadata``."""


class ObjectKey(NamedTuple):
    """What a work queue holds: which object, never what happened to it."""

    namespace: str  # "" for a cluster-scoped object
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def controller_reference(owner: Object) -> Object:
    """The owner reference by which garbage collection deletes a child when *owner* goes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the one controller of *obj*, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def at(obj: Mapping[str, Any] | None, *path: str, default: Any = None) -> Any:
    """The value at *path*, or *default* where any step is missing or null."""
    value: Any = obj
    for step in path:
        if not isinstance(value, Mapping):
            return default
        value = value.get(step)
    return default if value is None else value


def with_status(obj: Object, status: Object) -> Object:
    """A copy of *obj* whose status is *status*; the rest is shared, not copied."""
    return {**obj, "status": status}


def copy_of(obj: Object) -> Object:
    """A copy that may be changed."""
    return deepcopy(obj)


def sorted_by_name(objects: Iterable[Object]) -> list[Object]:
    return sorted(objects, key=key_of)
