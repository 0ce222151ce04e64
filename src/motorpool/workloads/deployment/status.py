"""What a Deployment says about its rollout. Pure.

`kubectl rollout status` believes Progressing and the counts; the counts are the ReplicaSets' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from motorpool.api.conditions import condition_of
from motorpool.api.meta import Object, at, name_of
from motorpool.base.clock import parse_rfc3339, rfc3339
from motorpool.workloads.deployment.spec import Rollout

COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
_COUNTS = (
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What this pass saw and did."""

    new: Object | None
    replica_sets: Sequence[Object]  # all of them, the new one included
    created: bool = False
    create_error: str = ""
    collisions: int = 0


def status(deployment: Object, rollout: Rollout, observed: Observed, now: datetime) -> Object:
    result = _counts(deployment, observed)
    before = at(deployment, "status", default={})
    progressing = _progressing(deployment, rollout, observed, result, now)
    available = result.get("availableReplicas", 0) >= rollout.available_min
    conditions = [
        _with_times(before, condition, now)
        for condition in (
            _availability(available),
            progressing,
            _replica_failure(observed),
        )
        if condition is not None
    ]
    result["conditions"] = conditions
    return result


def _counts(deployment: Object, observed: Observed) -> Object:
    every, new = observed.replica_sets, observed.new
    wanted = sum(int(at(rs, "spec", "replicas", default=1)) for rs in every)
    counts = {
        "observedGeneration": int(deployment["metadata"].get("generation") or 0),
        "replicas": _total(every, "replicas"),
        "updatedReplicas": _total([new] if new is not None else [], "replicas"),
        "readyReplicas": _total(every, "readyReplicas"),
        "availableReplicas": _total(every, "availableReplicas"),
        "collisionCount": observed.collisions,
    }
    counts["unavailableReplicas"] = max(0, wanted - counts["availableReplicas"])
    return {field: count for field, count in counts.items() if count}


def _total(replica_sets: Sequence[Object], field: str) -> int:
    return sum(int(at(rs, "status", field, default=0)) for rs in replica_sets)


def is_complete(deployment: Object, rollout: Rollout, status: Object) -> bool:
    """Whether every pod is of the current template and serves."""
    counts = [status.get(f, 0) for f in ("updatedReplicas", "replicas", "availableReplicas")]
    observed = status.get("observedGeneration", 0)
    return counts == [rollout.replicas] * 3 and observed >= int(
        deployment["metadata"].get("generation") or 0
    )


def _progressing(
    deployment: Object, rollout: Rollout, observed: Observed, new: Object, now: datetime
) -> Object | None:
    """The condition with its times where it moves, or as it was where it does not."""
    before = condition_of(deployment, "Progressing")
    if rollout.deadline_s is None:
        return None
    if observed.create_error:
        return _condition("False", "ReplicaSetCreateError", observed.create_error)
    if rollout.paused or (before is not None and before.get("reason") == PAUSED):
        return _pause(rollout, before)
    start = _start(observed, before)
    if start is not before or before is None:
        return start
    return _advance(deployment, rollout, observed, new, now)


def _pause(rollout: Rollout, before: Object | None) -> Object | None:
    if before is not None and before.get("reason") == TIMED_OUT:
        return before
    if rollout.paused:
        return _condition("Unknown", PAUSED, "Deployment is paused")
    return _condition("Unknown", "DeploymentResumed", "Deployment is resumed")


def _start(observed: Observed, before: Object | None) -> Object | None:
    """A new condition where a rollout begins, else *before*."""
    if observed.new is None:
        return before
    name = name_of(observed.new)
    if observed.created:
        return _condition("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    if before is None:
        return _condition("True", "FoundNewReplicaSet", f'Found new replica set "{name}"')
    return before


def _advance(
    deployment: Object, rollout: Rollout, observed: Observed, new: Object, now: datetime
) -> Object | None:
    before = condition_of(deployment, "Progressing") or {}
    subject = (
        f'ReplicaSet "{name_of(observed.new)}"'
        if observed.new
        else (f'Deployment "{name_of(deployment)}"')
    )
    if new.get("replicas", 0) == new.get("updatedReplicas", 0) and before.get("reason") == COMPLETE:
        return before
    if is_complete(deployment, rollout, new):
        return _condition("True", COMPLETE, f"{subject} has successfully progressed.")
    if _has_moved(at(deployment, "status", default={}), new):
        moved = _condition("True", "ReplicaSetUpdated", f"{subject} is progressing.")
        return {**moved, "lastUpdateTime": rfc3339(now)}
    due = deadline(before, rollout)
    if due is not None and due <= now:
        return _condition("False", TIMED_OUT, f"{subject} has timed out progressing.")
    return before


def _has_moved(before: Object, new: Object) -> bool:
    def old_pods(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = any(
        new.get(field, 0) > before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or old_pods(new) < old_pods(before)


def deadline(progressing: Object | None, rollout: Rollout) -> datetime | None:
    """When the rollout will be said to have stalled; None where no clock runs."""
    if progressing is None or rollout.deadline_s is None or rollout.paused:
        return None
    if progressing.get("reason") in (COMPLETE, TIMED_OUT, PAUSED):
        return None
    since = progressing.get("lastUpdateTime")
    return parse_rfc3339(since) + timedelta(seconds=rollout.deadline_s) if since else None


def _availability(available: bool) -> Object:
    reason = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    verb = "has" if available else "does not have"
    return {
        "type": "Available",
        "status": "True" if available else "False",
        "reason": reason,
        "message": f"Deployment {verb} minimum availability.",
    }


def _replica_failure(observed: Observed) -> Object | None:
    first = [observed.new] if observed.new is not None else []
    for replica_set in (*first, *observed.replica_sets):
        failure = condition_of(replica_set, "ReplicaFailure")
        if failure is not None:
            kept = ("type", "status", "reason", "message")
            return {field: failure[field] for field in kept if field in failure}
    return None


def _condition(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _with_times(before: Object, condition: Object, now: datetime) -> Object:
    """Keeps the times of what did not move; lastUpdateTime follows the reason as well."""
    previous = condition_of({"status": before}, condition["type"])
    moment = rfc3339(now)
    if previous is None:
        since, updated = moment, moment
    else:
        same = previous.get("status") == condition["status"]
        since = previous.get("lastTransitionTime", moment) if same else moment
        same = same and previous.get("reason") == condition["reason"]
        if same and "lastUpdateTime" not in condition:
            return previous
        updated = moment
    return {
        "type": condition["type"],
        "status": condition["status"],
        "lastUpdateTime": condition.get("lastUpdateTime", updated),
        "lastTransitionTime": since,
        "reason": condition["reason"],
        "message": condition["message"],
    }
