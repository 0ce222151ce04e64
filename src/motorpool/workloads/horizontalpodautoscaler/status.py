"""What a HorizontalPodAutoscaler says of itself. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from motorpool.api.conditions import merged
from motorpool.api.meta import Object, at
from motorpool.base.clock import rfc3339
from motorpool.workloads.horizontalpodautoscaler.plan import Note

TYPES = ("AbleToScale", "ScalingActive", "ScalingLimited")


def status(
    autoscaler: Object,
    *,
    current: int,
    desired: int,
    notes: Iterable[Note],
    metrics: Sequence[Object] | None,
    rescaled: bool,
    now: datetime,
) -> Object:
    """*notes*: of one type the last counts; a type that they lack stays as it was."""
    before = at(autoscaler, "status", default={})
    told = {note.type: note for note in notes}
    old = before.get("conditions") or []
    kept = {each["type"]: each for each in old}
    conditions = []
    for name in TYPES:
        note = told.get(name)
        if note is not None:
            conditions.append(_condition(note))
        elif name in kept:
            conditions.append(kept[name])
    result: Object = {
        "currentReplicas": current,
        "desiredReplicas": desired,
        "currentMetrics": list(metrics) if metrics else None,
        "conditions": merged(old, conditions, rfc3339(now)),
    }
    last = rfc3339(now) if rescaled else before.get("lastScaleTime")
    if last:
        result["lastScaleTime"] = last
    return result


def _condition(note: Note) -> Object:
    return {
        "type": note.type,
        "status": "True" if note.status else "False",
        "reason": note.reason,
        "message": note.message,
    }
