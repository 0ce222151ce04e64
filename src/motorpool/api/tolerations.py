"""Whether a pod puts up with a node's taint. Pure."""

from collections.abc import Iterable

from motorpool.api.meta import Object


def tolerates(toleration: Object, taint: Object) -> bool:
    """A toleration without a key that only asks for existence tolerates everything."""
    key, effect = toleration.get("key"), toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    exists = toleration.get("operator") == "Exists"
    if not key:
        return exists
    same = exists or (toleration.get("value") or "") == (taint.get("value") or "")
    return key == taint.get("key") and same


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    return any(tolerates(each, taint) for each in tolerations)
