"""Which pods a ReplicaSet lacks or has too many of. Pure.

Theory: pods of one template are interchangeable, so that a pod is never repaired, only replaced.
What goes first is what serves least: unplaced before placed, pending before running, unready
before ready; then what the user priced lower, what shares its node with more of its kind, what is
ready for a shorter time, restarted more often, and at last the younger one, then the name.

A pod that Failed is replaced and kept for its user to look at, the newest few of them. A node that
fails every pod at once must not be answered with pods at full speed: from the third failure on the
replacement waits, each time twice as long.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from motorpool.api.meta import (
    Object,
    annotations_of,
    at,
    controller_reference,
    copy_of,
    name_of,
    namespace_of,
)
from motorpool.api.podstatus import is_active, is_ready, ready_since, restarts
from motorpool.base.backoff import Backoff
from motorpool.base.clock import parse_rfc3339

BURST_MAX = 500
"""The most pods created or deleted in one pass."""

FAILED_KEPT_MAX = 10
FAILED_AT_ONCE = 2
"""So many failures are taken for accidents and answered at once."""
REPLACEMENT = Backoff(first_s=1.0, most_s=60.0)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    create: int
    delete: list[Object]


def plan(replica_set: Object, pods: Sequence[Object]) -> Plan:
    """How many pods to create, or which of *pods* to delete; nothing while it is being deleted."""
    if "deletionTimestamp" in replica_set["metadata"]:
        return Plan(0, [])
    active = [pod for pod in pods if is_active(pod)]
    lacking = desired_replicas(replica_set) - len(active)
    if lacking >= 0:
        return Plan(min(lacking, BURST_MAX), [])
    return Plan(0, victims(active, min(-lacking, BURST_MAX)))


def failed_of(pods: Iterable[Object]) -> list[Object]:
    """The oldest first."""
    failed = [pod for pod in pods if at(pod, "status", "phase") == "Failed"]
    failed = [pod for pod in failed if "deletionTimestamp" not in pod["metadata"]]
    return sorted(failed, key=lambda pod: (_born(pod), name_of(pod)))


def forgotten(pods: Iterable[Object]) -> list[Object]:
    """The failed pods that have been kept for long enough."""
    return failed_of(pods)[:-FAILED_KEPT_MAX]


def wait_s(pods: Iterable[Object], now: datetime) -> float:
    """How long the next pod has to wait because of those that failed; 0 where it need not."""
    failed = failed_of(pods)
    delay_s = REPLACEMENT.delay_s(len(failed) - FAILED_AT_ONCE)
    if not delay_s:
        return 0.0
    return max(0.0, delay_s - (now - _born(failed[-1])).total_seconds())


def desired_replicas(replica_set: Object) -> int:
    return int(at(replica_set, "spec", "replicas", default=1))


def victims(active: Sequence[Object], count: int) -> list[Object]:
    """The *count* pods that are missed least, the least first."""
    crowds = Counter(at(pod, "spec", "nodeName", default="") for pod in active)
    return sorted(active, key=lambda pod: _worth(pod, crowds))[:count]


def _worth(pod: Object, crowds: Counter[str]) -> tuple[Any, ...]:
    node = at(pod, "spec", "nodeName", default="")
    phase = at(pod, "status", "phase", default="Pending")
    since = ready_since(pod) or _NEVER
    return (
        bool(node),
        _PHASES.get(phase, 1),
        is_ready(pod),
        _deletion_cost(pod),
        -crowds[node],
        -since.timestamp(),
        -restarts(pod),
        -_born(pod).timestamp(),
        name_of(pod),
    )


def _born(pod: Object) -> datetime:
    created = pod["metadata"].get("creationTimestamp")
    return parse_rfc3339(created) if created else _NEVER


def _deletion_cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def pod_of(replica_set: Object) -> Object:
    """The next pod, as it is to be created."""
    template = at(replica_set, "spec", "template", default={})
    metadata = copy_of(at(template, "metadata", default={}))
    kept = ("labels", "annotations", "finalizers")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name_of(replica_set)}-",
            "namespace": namespace_of(replica_set),
            **{field: metadata[field] for field in kept if metadata.get(field)},
            "ownerReferences": [controller_reference(replica_set)],
        },
        "spec": copy_of(at(template, "spec", default={})),
    }
