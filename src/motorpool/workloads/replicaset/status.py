"""What a ReplicaSet says about its pods. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from motorpool.api import conditions
from motorpool.api.meta import Object, at, labels_of
from motorpool.api.podstatus import available_in_s, is_active, is_ready
from motorpool.base.clock import rfc3339


@dataclass(frozen=True, slots=True)
class Failure:
    """Why pods could not be created or deleted: ``FailedCreate`` or ``FailedDelete``."""

    reason: str
    message: str


def status(
    replica_set: Object, pods: Sequence[Object], failure: Failure | None, now: datetime
) -> Object:
    active = [pod for pod in pods if is_active(pod)]
    template_labels = at(replica_set, "spec", "template", "metadata", "labels", default={})
    min_ready_s = _min_ready_s(replica_set)
    counts = {
        "fullyLabeledReplicas": sum(
            template_labels.items() <= labels_of(p).items() for p in active
        ),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(available_in_s(p, min_ready_s, now) == 0 for p in active),
        "observedGeneration": int(replica_set["metadata"].get("generation") or 0),
    }
    result: Object = {"replicas": len(active)}
    result |= {field: count for field, count in counts.items() if count}
    if failure is not None:
        condition = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": failure.reason,
            "message": failure.message,
        }
        before = at(replica_set, "status", "conditions", default=())
        result["conditions"] = conditions.merged(before, [condition], rfc3339(now))
    return result


def next_available_s(replica_set: Object, pods: Sequence[Object], now: datetime) -> float | None:
    """When the next ready pod becomes available; no event tells of it."""
    waits = [available_in_s(pod, _min_ready_s(replica_set), now) for pod in pods if is_active(pod)]
    return min((wait for wait in waits if wait), default=None)


def _min_ready_s(replica_set: Object) -> int:
    return int(at(replica_set, "spec", "minReadySeconds", default=0))
