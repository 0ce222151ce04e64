"""What still stands in the way of a namespace's end, as its conditions. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from motorpool.api.conditions import merged
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.base.clock import rfc3339


def status(namespace: Object, left: Mapping[Kind, Iterable[Object]], now: datetime) -> Object:
    """*left* is what is still in it, by kind."""
    counts = {f"{kind.plural}.{kind.group}": len(list(objs)) for kind, objs in left.items()}
    finalizers = Counter(
        finalizer
        for objs in left.values()
        for obj in objs
        for finalizer in obj["metadata"].get("finalizers") or ()
    )
    conditions = [
        _passed("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered",
                "All resources successfully discovered"),
        _passed("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
                "All legacy kube types successfully parsed"),
        _passed("NamespaceDeletionContentFailure", "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization"),
        _content(counts),
        _finalizers(finalizers),
    ]  # fmt: skip
    before = at(namespace, "status", "conditions", default=())
    return {"phase": "Terminating", "conditions": merged(before, conditions, rfc3339(now))}


def _content(counts: Mapping[str, int]) -> Object:
    listed = ", ".join(
        f"{name} has {count} resource instances" for name, count in sorted(counts.items()) if count
    )
    if not listed:
        return _passed(
            "NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"
        )
    return {
        "type": "NamespaceContentRemaining",
        "status": "True",
        "reason": "SomeResourcesRemain",
        "message": f"Some resources are remaining: {listed}",
    }


def _finalizers(counts: Mapping[str, int]) -> Object:
    listed = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(counts.items())
    )
    if not listed:
        return _passed(
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        )
    return {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "reason": "SomeFinalizersRemain",
        "message": f"Some content in the namespace has finalizers remaining: {listed}",
    }


def _passed(condition_type: str, reason: str, message: str) -> Object:
    return {"type": condition_type, "status": "False", "reason": reason, "message": message}
