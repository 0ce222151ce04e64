"""What a delete does to an object: removes it, or marks it and waits. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from motorpool.api import core, static_definitions
from motorpool.api.apiextensions import CUSTOM_RESOURCE_DEFINITION
from motorpool.api.definitions import mark_deleted
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver import refusals
from motorpool.apiserver.options import DeleteOptions
from motorpool.apiserver.strategy import is_unheld
from motorpool.base.clock import parse_rfc3339, rfc3339

GRACE_DEFAULT_S = 30
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})


class Deletion(NamedTuple):
    object: Object  # as it is afterwards, or as it was last
    gone: bool
    changed: bool  # False where an earlier delete has already done this much


def check_allowed(kind: Kind, name: str) -> None:
    """Raises Forbidden for what the cluster cannot do without."""
    if kind is core.NAMESPACE and name in PROTECTED_NAMESPACES:
        raise refusals.namespace_protected(kind, name)
    if kind is CUSTOM_RESOURCE_DEFINITION and name in static_definitions.kinds():
        raise refusals.definition_protected(kind, name)


def decide(kind: Kind, obj: Object, options: DeleteOptions, now: datetime) -> Deletion:
    """*obj* is shared and left alone."""
    if kind is CUSTOM_RESOURCE_DEFINITION and "deletionTimestamp" not in obj["metadata"]:
        obj = mark_deleted(obj, rfc3339(now))
    metadata = dict(obj["metadata"])
    finalizers = _finalizers(kind, obj, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    new = {**obj, "metadata": metadata}
    grace_s = _grace_s(kind, obj, options)
    if "deletionTimestamp" in metadata:
        _shorten(metadata, grace_s)
    else:
        metadata["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
        if kind.has_generation:
            metadata["generation"] = int(metadata.get("generation", 0)) + 1
    if kind is core.NAMESPACE:
        metadata.pop("deletionGracePeriodSeconds", None)
        new["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    gone = is_unheld(kind, new)
    return Deletion(new, gone, gone or new != obj)


def _finalizers(kind: Kind, obj: Object, options: DeleteOptions) -> list[str]:
    """The object's own, with the one that the propagation policy asks the collector for."""
    finalizers = list(obj["metadata"].get("finalizers") or ())
    propagation = options.propagation or ("Orphan" if orphans(kind, options) else "")
    if not propagation:
        return finalizers
    wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
    kept = [f for f in finalizers if f not in ("foregroundDeletion", "orphan")]
    return [*kept, wanted] if wanted else kept


def orphans(kind: Kind, options: DeleteOptions) -> bool:
    """Whether the dependents stay although the client did not say so."""
    return kind.orphans_dependents and not options.propagation


def _grace_s(kind: Kind, obj: Object, options: DeleteOptions) -> int:
    """Only pods have something to finish, and only once a node may run them."""
    if kind is not core.POD:
        return 0
    if not at(obj, "spec", "nodeName") or at(obj, "status", "phase") in ("Failed", "Succeeded"):
        return 0
    if options.grace_s is not None:
        return options.grace_s if options.grace_s >= 0 else 1
    return int(at(obj, "spec", "terminationGracePeriodSeconds", default=GRACE_DEFAULT_S))


def _shorten(metadata: Object, grace_s: int) -> None:
    """A later delete may bring the end nearer, never put it off."""
    before_s = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if grace_s >= before_s:
        return
    end = parse_rfc3339(metadata["deletionTimestamp"])
    metadata["deletionTimestamp"] = rfc3339(end - timedelta(seconds=before_s - grace_s))
    metadata["deletionGracePeriodSeconds"] = grace_s
