"""What the server itself writes into an object, and what it keeps a client from writing. Pure.

The functions that make objects change the *new* object they are given, which is the caller's own
copy, and never the *old* one, which is shared.
"""

from typing import Any

from motorpool.api import core
from motorpool.api.errors import FieldError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver.refusals import invalid

SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
    "name",
    "resourceVersion",
)
"""Metadata that an update cannot change."""

NAME_SUFFIX_LENGTH = 5
GENERATED_NAME_BASE_MAX = 58

STATUS_ANNOTATIONS = frozenset({"deployments.apps"})
"""Kinds whose status subresource takes annotations too: a Deployment's revision."""


def prepare_create(kind: Kind, new: Object, *, namespace: str, uid: str, moment: str) -> None:
    """Writes the metadata of a new object; drops what only the server may set."""
    metadata = new["metadata"]
    for name in SERVER_METADATA:
        if name not in ("name", "resourceVersion"):
            metadata.pop(name, None)
    metadata.pop("selfLink", None)
    metadata.pop("resourceVersion", None)
    if kind.namespaced:
        metadata["namespace"] = namespace
    metadata["uid"] = uid
    metadata["creationTimestamp"] = moment
    if kind.has_generation:
        metadata["generation"] = 1
    if kind.has_status:
        new.pop("status", None)
    _drop_empty(metadata)


def prepare_update(kind: Kind, old: Object, new: Object, subresource: str) -> Object:
    """What the update makes of *old*: only what its path may change."""
    if subresource == "status":
        new = _status_update(kind, old, new)
    elif subresource == "finalize":
        spec = {**(old.get("spec") or {}), "finalizers": (new.get("spec") or {}).get("finalizers")}
        new = {**old, "metadata": dict(old["metadata"]), "spec": spec}
    elif subresource != "binding" and kind.has_status:
        copy_or_drop(old, new, "status")
    _keep_server_metadata(old, new)
    return new


def count_generation(kind: Kind, old: Object, new: Object) -> None:
    """Raises the generation where the spec changed. After defaulting, else defaults look new."""
    if kind.has_generation and _changes_spec(kind, old, new):
        new["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1


def _status_update(kind: Kind, old: Object, new: Object) -> Object:
    metadata = dict(old["metadata"])
    if kind.resource in STATUS_ANNOTATIONS and new["metadata"].get("annotations"):
        metadata["annotations"] = new["metadata"]["annotations"]
    copy_or_drop(new["metadata"], metadata, "managedFields")
    result = {**old, "metadata": metadata}
    copy_or_drop(new, result, "status")
    return result


def _keep_server_metadata(old: Object, new: Object) -> None:
    metadata = new["metadata"]
    for name in SERVER_METADATA:
        copy_or_drop(old["metadata"], metadata, name)
    metadata.pop("selfLink", None)
    _drop_empty(metadata)


def _drop_empty(metadata: Object) -> None:
    """No labels and an empty map of labels are the same; the API writes neither."""
    for name in ("labels", "annotations", "finalizers", "ownerReferences"):
        if name in metadata and not metadata[name]:
            del metadata[name]


def copy_or_drop(source: Object, target: Object, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _changes_spec(kind: Kind, old: Object, new: Object) -> bool:
    apart = {"metadata", "apiVersion", "kind"} | ({"status"} if kind.has_status else set())
    names = (old.keys() | new.keys()) - apart
    return any(old.get(name) != new.get(name) for name in names)


def same_content(old: Object, new: Object) -> bool:
    """Whether the two differ in nothing that a user wrote: who owns what is left aside."""
    if old.keys() != new.keys():
        return False
    if any(old[name] != new[name] for name in old if name != "metadata"):
        return False
    return _without_ownership(old["metadata"]) == _without_ownership(new["metadata"])


def same_ownership(old: Object, new: Object) -> bool:
    """Whether *new* leaves alone who owns what; not to mention it is to leave it alone."""
    given = new["metadata"].get("managedFields")
    return given is None or given == old["metadata"].get("managedFields")


def _without_ownership(metadata: Object) -> Object:
    return {k: v for k, v in metadata.items() if k != "managedFields"}


def check_finalizers(kind: Kind, old: Object, new: Object) -> None:
    """Refuses new finalizers on an object that is being deleted."""
    if "deletionTimestamp" not in old["metadata"]:
        return
    before = set(old["metadata"].get("finalizers") or ())
    added = [f for f in new["metadata"].get("finalizers") or () if f not in before]
    if added:
        listed = ", ".join(f'"{finalizer}"' for finalizer in added)
        text = (
            "no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{listed}}}"
        )
        name = str(old["metadata"]["name"])
        raise invalid(kind, name, FieldError.forbidden("metadata.finalizers", text))


def is_unheld(kind: Kind, obj: Object) -> bool:
    """Whether nothing keeps an object that is being deleted any longer."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("deletionGracePeriodSeconds")
        and not metadata.get("finalizers")
        and not (kind is core.NAMESPACE and (obj.get("spec") or {}).get("finalizers"))
    )


def ordered(kind: Kind, obj: Object) -> Object:
    """The same object, beginning as people expect: apiVersion, kind, metadata."""
    rest = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
    head: dict[str, Any] = {"apiVersion": kind.api_version, "kind": kind.kind}
    return {**head, "metadata": obj["metadata"], **rest}
