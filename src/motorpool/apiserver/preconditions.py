"""What a request assumes of the object that it is about. Pure."""

from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import refusals
from motorpool.apiserver.options import DeleteOptions


def place(kind: Kind, namespace: str, obj: Object) -> None:
    """Gives *obj* the namespace of the URL; refuses another one."""
    metadata = obj.setdefault("metadata", {})
    if not kind.namespaced:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", namespace) not in (namespace, ""):
        raise refusals.namespace_mismatch()
    else:
        metadata["namespace"] = namespace


def check_version(kind: Kind, old: Object, new: Object) -> None:
    before, wanted = old["metadata"], new["metadata"]
    if wanted.get("resourceVersion") not in (None, "", before["resourceVersion"]):
        raise refusals.conflict(kind, before["name"])
    if wanted.get("uid") not in (None, "", before["uid"]):
        raise refusals.uid_conflict(kind, before["name"], wanted["uid"], before["uid"])


def check_preconditions(kind: Kind, old: Object, options: DeleteOptions) -> None:
    metadata = old["metadata"]
    pairs = (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    )
    for what, wanted, actual in pairs:
        if wanted and wanted != actual:
            raise refusals.precondition_failed(kind, metadata["name"], what, wanted, actual)
