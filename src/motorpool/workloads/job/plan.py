"""What a Job does next: which pods to create and to delete, and whether it is over. Pure.

Theory: a Job wants as many pods at a time as its parallelism, but never more than are still to
succeed. A pod that fails is replaced after a pause that doubles with each failure in a row. A Job
that is over first stops what still runs, and says so; it is Complete or Failed when nothing runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from motorpool.api.conditions import is_true
from motorpool.api.meta import (
    Object,
    at,
    controller_reference,
    copy_of,
    is_deleting,
    name_of,
    namespace_of,
)
from motorpool.api.podstatus import is_active, is_ready, restarts
from motorpool.base.backoff import Backoff
from motorpool.base.clock import parse_rfc3339
from motorpool.workloads.job.tally import FINALIZER, INDEX, Tally, ended_at, index_of, outcome

BURST_MAX = 100
REPLACEMENT = Backoff(first_s=10.0, most_s=360.0)


@dataclass(frozen=True, slots=True)
class End:
    """How a Job ends: ``Complete`` or ``Failed``."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    create: Sequence[int] = ()  # the index of each pod; -1 where the Job has none
    delete: Sequence[Object] = field(default_factory=list)
    end: End | None = None
    again_s: float | None = None


def is_finished(job: Object) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")


def is_suspended(job: Object) -> bool:
    return bool(at(job, "spec", "suspend"))


def plan(job: Object, pods: Sequence[Object], counted: Tally, now: datetime) -> Plan:
    active = [pod for pod in pods if is_active(pod)]
    if is_deleting(job) or is_finished(job):
        return Plan()
    if is_suspended(job):
        return Plan(delete=active)
    ended = end(job, active, counted, now)
    if ended is not None:
        return Plan(delete=active, end=ended)
    deadline_s = _deadline_s(job, now)
    wanted = _wanted(job, active, counted)
    if len(active) > wanted:
        return Plan(delete=_youngest(active)[: len(active) - wanted], again_s=deadline_s)
    lacking = min(wanted - len(active), BURST_MAX)
    wait_s = _pause_s(pods, now) if lacking else 0.0
    if wait_s > 0:
        waits = [wait_s, *([deadline_s] if deadline_s is not None else [])]
        return Plan(again_s=min(waits))
    return Plan(create=_indexes(job, active, counted, lacking), again_s=deadline_s)


def end(job: Object, active: Sequence[Object], counted: Tally, now: datetime) -> End | None:
    """How the Job ends, as soon as that is certain."""
    for target in ("FailureTarget", "SuccessCriteriaMet"):
        known = _condition(job, target)
        if known is not None:
            kind = "Failed" if target == "FailureTarget" else "Complete"
            return End(kind, known.get("reason", ""), known.get("message", ""))
    limit = int(at(job, "spec", "backoffLimit", default=6))
    if counted.failed > limit or _restarted_too_often(job, active, limit):
        text = "Job has reached the specified backoff limit"
        return End("Failed", "BackoffLimitExceeded", text)
    left_s = _deadline_s(job, now)
    if left_s is not None and left_s <= 0:
        text = "Job was active longer than specified deadline"
        return End("Failed", "DeadlineExceeded", text)
    if _is_complete(job, active, counted):
        return End("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _condition(job: Object, kind: str) -> Object | None:
    for condition in at(job, "status", "conditions", default=()):
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def done(job: Object, counted: Tally) -> int:
    """How much of the Job has succeeded."""
    if at(job, "spec", "completionMode") == "Indexed":
        return len(counted.indexes)
    return counted.succeeded


def _is_complete(job: Object, active: Sequence[Object], counted: Tally) -> bool:
    completions = at(job, "spec", "completions")
    if completions is None:  # The pods agree among themselves when the work is done.
        return counted.succeeded > 0 and not active
    return done(job, counted) >= int(completions)


def _restarted_too_often(job: Object, active: Sequence[Object], limit: int) -> bool:
    if at(job, "spec", "template", "spec", "restartPolicy") != "OnFailure":
        return False
    count = sum(restarts(pod) for pod in active)
    return count > 0 if limit == 0 else count >= limit


def _deadline_s(job: Object, now: datetime) -> float | None:
    """How much time the Job has left; None for any."""
    most, started = at(job, "spec", "activeDeadlineSeconds"), at(job, "status", "startTime")
    if most is None:
        return None
    begun = parse_rfc3339(started) if started else now
    return float((begun + timedelta(seconds=most) - now).total_seconds())


def _wanted(job: Object, active: Sequence[Object], counted: Tally) -> int:
    parallelism = int(at(job, "spec", "parallelism", default=1))
    completions = at(job, "spec", "completions")
    if completions is None:
        # After the first success no pod is started any more.
        return min(len(active), parallelism) if counted.succeeded else parallelism
    return min(parallelism, int(completions) - done(job, counted))


def _youngest(pods: Sequence[Object]) -> list[Object]:
    """Those that have done least come first."""
    return sorted(
        pods,
        key=lambda pod: (is_ready(pod), _reversed(pod["metadata"].get("creationTimestamp", ""))),
    )


def _reversed(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)


def _pause_s(pods: Sequence[Object], now: datetime) -> float:
    """How long the next pod has to wait because of the failures in a row before it."""
    ends = [(moment, outcome(pod)) for pod in pods if (moment := ended_at(pod)) and outcome(pod)]
    failures, last = 0, now
    for moment, result in sorted(ends, reverse=True):
        if result != "failed":
            break
        last = moment if failures == 0 else last
        failures += 1
    if not failures:
        return 0.0
    return max(0.0, REPLACEMENT.delay_s(failures) - (now - last).total_seconds())


def _indexes(job: Object, active: Sequence[Object], counted: Tally, count: int) -> Sequence[int]:
    if at(job, "spec", "completionMode") != "Indexed":
        return [-1] * count
    taken = counted.indexes | {index_of(pod) for pod in active}
    free = (n for n in range(int(at(job, "spec", "completions", default=0))) if n not in taken)
    return [index for index, _ in zip(free, range(count), strict=False)]


def expires_in_s(job: Object, now: datetime) -> float | None:
    """When a finished Job is to be deleted; None for never."""
    ttl_s = at(job, "spec", "ttlSecondsAfterFinished")
    if ttl_s is None or not is_finished(job):
        return None
    finished = _condition(job, "Complete") or _condition(job, "Failed") or {}
    since = finished.get("lastTransitionTime")
    if not since:
        return None
    return float((parse_rfc3339(since) + timedelta(seconds=ttl_s) - now).total_seconds())


def pod_of(job: Object, index: int) -> Object:
    """The next pod, as it is to be created."""
    template = at(job, "spec", "template", default={})
    given = copy_of(at(template, "metadata", default={}))
    kept = {key: given[key] for key in ("labels", "annotations") if given.get(key)}
    spec: Object = copy_of(at(template, "spec", default={}))
    name = name_of(job)
    prefix = f"{name}-"
    if index >= 0:
        prefix = f"{name}-{index}-"
        for field_name in ("labels", "annotations"):
            kept[field_name] = {**kept.get(field_name, {}), INDEX: str(index)}
        spec.setdefault("hostname", f"{name}-{index}")
        _tell_index(spec)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": prefix,
            "namespace": namespace_of(job),
            **kept,
            "finalizers": [*(given.get("finalizers") or ()), FINALIZER],
            "ownerReferences": [controller_reference(job)],
        },
        "spec": spec,
    }


def _tell_index(spec: Object) -> None:
    source: Any = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            names = [variable.get("name") for variable in container.get("env") or ()]
            if "JOB_COMPLETION_INDEX" not in names:
                variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
                container["env"] = [*(container.get("env") or ()), variable]
