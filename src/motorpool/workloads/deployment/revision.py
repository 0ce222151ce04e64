"""Revisions: which ReplicaSet is current, which came before, and what each is annotated with. Pure.

`kubectl rollout history` and `undo` read nothing but these annotations.
"""

from collections.abc import Iterable, Sequence

from motorpool.api.meta import Object, annotations_of, at, is_deleting, name_of
from motorpool.workloads.deployment.spec import Rollout
from motorpool.workloads.deployment.template import are_equal

_PREFIX = "deployment.kubernetes.io/"
REVISION = f"{_PREFIX}revision"
HISTORY = f"{_PREFIX}revision-history"
DESIRED = f"{_PREFIX}desired-replicas"
MAXIMUM = f"{_PREFIX}max-replicas"
_OWN = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
)
HISTORY_LENGTH_MAX = 2000


def revision_of(obj: Object) -> int:
    try:
        return int(annotations_of(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def by_age(replica_sets: Iterable[Object]) -> list[Object]:
    """The oldest first."""
    return sorted(replica_sets, key=_age)


def _age(replica_set: Object) -> tuple[str, str]:
    return replica_set["metadata"].get("creationTimestamp") or "", name_of(replica_set)


def current(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """The ReplicaSet that has the Deployment's template; the oldest where there are several."""
    template = at(deployment, "spec", "template", default={})
    for replica_set in by_age(replica_sets):
        if are_equal(at(replica_set, "spec", "template", default={}), template):
            return replica_set
    return None


def next_revision(old: Iterable[Object]) -> int:
    return max((revision_of(replica_set) for replica_set in old), default=0) + 1


def annotations_for(deployment: Object, replica_set: Object | None, revision: int) -> Object:
    """The annotations of the current ReplicaSet, but for the sizes.

    A ReplicaSet that becomes current again gets the new number and remembers the one it had.
    """
    result = dict(annotations_of(replica_set)) if replica_set is not None else {}
    copied = {k: v for k, v in annotations_of(deployment).items() if k not in _OWN}
    result |= copied
    had = revision_of(replica_set) if replica_set is not None else 0
    if had < revision:
        result[REVISION] = str(revision)
        if had > 0:
            history = [part for part in result.get(HISTORY, "").split(",") if part]
            history.append(str(had))
            while len(",".join(history)) > HISTORY_LENGTH_MAX:
                history.pop(0)
            result[HISTORY] = ",".join(history)
    return result


def sizes_for(rollout: Rollout) -> dict[str, str]:
    return {DESIRED: str(rollout.replicas), MAXIMUM: str(rollout.replicas_max)}


def expired(rollout: Rollout, old: Sequence[Object]) -> list[Object]:
    """What goes once a rollout is complete: beyond the history limit, the oldest first."""
    alive = [replica_set for replica_set in old if not is_deleting(replica_set)]
    surplus = len(alive) - rollout.history_limit
    if surplus <= 0:
        return []
    candidates = sorted(alive, key=lambda rs: (revision_of(rs), *_age(rs)))[:surplus]
    return [replica_set for replica_set in candidates if _is_empty(replica_set)]


def _is_empty(replica_set: Object) -> bool:
    metadata, status = replica_set["metadata"], at(replica_set, "status", default={})
    return (
        at(replica_set, "spec", "replicas", default=1) == 0
        and not status.get("replicas")
        and int(metadata.get("generation") or 0) <= int(status.get("observedGeneration") or 0)
    )
