"""What is told of an InferenceService, as events: each change that a user waits for or must act
upon, once. Pure.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from motorpool.api.conditions import condition_of
from motorpool.api.meta import Object, at
from motorpool.controllers.inferenceservice.modelstatus import UNSCHEDULABLE
from motorpool.controllers.inferenceservice.names import COMPONENTS
from motorpool.controllers.inferenceservice.status import (
    READY,
    REPLACED,
    STOPPED,
    is_failing,
    status_is_ready,
)

FAILED_CREATE = "FailedCreate"
ADVISORY = ("FieldsIgnored", "OciImageVolumeCompatible")


class Happened(NamedTuple):
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(name: str, before: Object, after: Object) -> Iterator[Happened]:
    """What to tell now that the status *before* has become *after*."""
    yield from _readiness(name, before, after)
    yield from _stop(name, before, after)
    yield from _model(name, before, after)
    yield from _refused_pods(before, after)
    if _several(after) or _several(before):
        yield from _components(before, after)
    for kind in ADVISORY:
        note = _condition(after, kind)
        if note and note.get("message") != _condition(before, kind).get("message"):
            yield Happened("Warning", note["reason"], note["message"])


def _readiness(name: str, before: Object, after: Object) -> Iterator[Happened]:
    was, ready = status_is_ready(before), status_is_ready(after)
    if ready and not was:
        yield Happened("Normal", "InferenceServiceReady", f"InferenceService {name} is Ready")
    elif was and not ready:
        message = f"InferenceService {name} is no longer Ready: {_why(_condition(after, READY))}"
        yield Happened("Warning", "InferenceServiceNotReady", message)


def _stop(name: str, before: Object, after: Object) -> Iterator[Happened]:
    was, is_now = (_condition(s, STOPPED).get("status") == "True" for s in (before, after))
    if is_now and not was:
        yield Happened("Normal", "InferenceServiceStopped", f"InferenceService {name} is stopped")
    elif was and not is_now:
        message = f"InferenceService {name} is started again"
        yield Happened("Normal", "InferenceServiceResumed", message)


def _model(name: str, before: Object, after: Object) -> Iterator[Happened]:
    failure = at(after, "modelStatus", "lastFailureInfo")
    cause, old = _cause(after), _cause(before)
    message = cause.get("message")
    if failure and is_failing(after):
        if message and (message != old.get("message") or not is_failing(before)):
            yield Happened("Warning", failure["reason"], message)
    elif cause.get("reason") == UNSCHEDULABLE and message != old.get("message"):
        yield Happened("Warning", "FailedScheduling", str(message))
    target = at(after, "modelStatus", "states", "targetModelState")
    if target == "Loading" and at(before, "modelStatus", "states", "targetModelState") != target:
        yield Happened("Normal", "ModelLoading", f"the model of InferenceService {name} is fetched")


def _cause(status: Object) -> Object:
    """The condition that tells why what was asked for last does not serve."""
    return _condition(status, REPLACED) or _condition(status, READY)


def _refused_pods(before: Object, after: Object) -> Iterator[Happened]:
    """Pods that the API does not take: what it says is on a ReplicaSet, two objects away."""
    for component in COMPONENTS:
        new, old = (_condition(s, f"{component.capitalize()}Ready") for s in (after, before))
        if new.get("reason") == FAILED_CREATE and new.get("message") != old.get("message"):
            yield Happened("Warning", FAILED_CREATE, _why(new))


def _components(before: Object, after: Object) -> Iterator[Happened]:
    """Which of several components became ready, or no longer is."""
    for component in COMPONENTS:
        kind = f"{component.capitalize()}Ready"
        new, old = _condition(after, kind), _condition(before, kind)
        is_ready, was = (c.get("status") == "True" for c in (new, old))
        if is_ready and not was:
            yield Happened("Normal", kind, f"the {component} is ready")
        elif was and not is_ready:
            reason = kind.removesuffix("Ready") + "NotReady"
            yield Happened("Warning", reason, f"the {component} is no longer ready: {_why(new)}")


def _several(status: Object) -> bool:
    return sum(bool(_condition(status, f"{c.capitalize()}Ready")) for c in COMPONENTS) > 1


def _why(condition: Object) -> str:
    return str(condition.get("message") or condition.get("reason") or "unknown")


def _condition(status: Object, kind: str) -> Object:
    return dict(condition_of({"status": status}, kind) or {})
