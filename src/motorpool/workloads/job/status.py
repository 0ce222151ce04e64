"""What a Job says of its progress. Pure."""

from collections.abc import Sequence
from datetime import datetime

from motorpool.api.conditions import condition_of, merged
from motorpool.api.meta import Object, at, is_deleting
from motorpool.api.podstatus import is_active, is_ready, is_terminal
from motorpool.base.clock import rfc3339
from motorpool.workloads.job.plan import Plan, is_finished, is_suspended
from motorpool.workloads.job.tally import Tally, shown_indexes

_TARGETS = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


def status(
    job: Object, pods: Sequence[Object], counted: Tally, made: Plan, now: datetime
) -> Object:
    """*pods* are those that there are after the plan was carried out."""
    before = at(job, "status", default={})
    if is_finished(job):
        return _counted(dict(before), job, counted)
    active = [pod for pod in pods if is_active(pod)]
    going = [pod for pod in pods if is_deleting(pod) and not is_terminal(pod)]
    result: Object = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "terminating": len(going),
    }
    if not is_suspended(job):
        result["startTime"] = before.get("startTime") or rfc3339(now)
    result = _counted(result, job, counted)
    old = before.get("conditions") or []
    conditions = _conditions(job, old, made, over=not (active or going or made.delete))
    if any(each["type"] == "Complete" for each in conditions):
        result["completionTime"] = rfc3339(now)
    if conditions:
        result["conditions"] = [
            {**each, "lastProbeTime": _probed(each, old)}
            for each in merged(old, conditions, rfc3339(now))
        ]
    return {key: value for key, value in result.items() if value or key not in _OMITTED}


_OMITTED = ("active", "succeeded", "failed", "completedIndexes")


def _probed(condition: Object, old: Sequence[Object]) -> str:
    """The API wants it; it says no more than when the condition came to be as it is."""
    known = next((each for each in old if each["type"] == condition["type"]), {})
    same = known.get("status") == condition["status"]
    return str(known.get("lastProbeTime") if same else condition["lastTransitionTime"])


def _counted(result: Object, job: Object, counted: Tally) -> Object:
    uncounted = {kind: uids for kind, uids in counted.uncounted.items() if uids}
    result = {**result, "uncountedTerminatedPods": uncounted}
    for kind, number in counted.counters.items():
        if number:
            result[kind] = number
    if at(job, "spec", "completionMode") == "Indexed":
        result["completedIndexes"] = shown_indexes(counted.indexes)
    return result


def _conditions(job: Object, old: Sequence[Object], made: Plan, *, over: bool) -> list[Object]:
    found = [{k: v for k, v in each.items() if k != "lastTransitionTime"} for each in old]
    found = [each for each in found if each["type"] != "Suspended"]
    suspended = condition_of(job, "Suspended")
    if is_suspended(job):
        found.append(_condition("Suspended", "True", "JobSuspended", "Job suspended"))
    elif suspended is not None:
        found.append(_condition("Suspended", "False", "JobResumed", "Job resumed"))
    if made.end is not None:
        known = {each["type"] for each in found}
        target = _TARGETS[made.end.type]
        if target not in known:
            found.append(_condition(target, "True", made.end.reason, made.end.message))
        if over:
            found.append(_condition(made.end.type, "True", made.end.reason, made.end.message))
    return found


def _condition(kind: str, value: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": value, "reason": reason, "message": message}
