"""Status conditions: a list that holds one entry per type. Pure.

``lastTransitionTime`` moves only when ``status`` does, as every Kubernetes controller has it.
"""

from collections.abc import Iterable

from motorpool.api.meta import Object


def condition_of(obj: Object, condition_type: str) -> Object | None:
    """The condition of that type in ``status.conditions``, or None."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == condition_type:
            return dict(condition)
    return None


def is_true(obj: Object, condition_type: str) -> bool:
    condition = condition_of(obj, condition_type)
    return condition is not None and condition.get("status") == "True"


def merged(old: Iterable[Object], new: Iterable[Object], now: str) -> list[Object]:
    """*new*, each with the transition time of its predecessor in *old* unless its status moved.

    The order is that of *new*; a type that *new* lacks is dropped. *now* is RFC 3339.
    """
    before = {condition["type"]: condition for condition in old}
    result = []
    for condition in new:
        previous = before.get(condition["type"])
        same = previous is not None and previous.get("status") == condition.get("status")
        since = previous.get("lastTransitionTime") if same and previous else None
        result.append({**condition, "lastTransitionTime": since or now})
    return result
