"""How many pods each ReplicaSet of a Deployment may have now. Pure.

Theory: a rollout is no sequence that is remembered. Each pass looks at how many pods exist and how
many serve, and moves as far as maxSurge and maxUnavailable allow; what then happens to the pods
causes the next pass. A pass never counts on a pod that a ReplicaSet has yet to create or to delete.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from motorpool.api.meta import Object, annotations_of, at, name_of
from motorpool.workloads.deployment.revision import DESIRED, MAXIMUM, by_age
from motorpool.workloads.deployment.spec import Rollout


@dataclass(frozen=True, slots=True)
class Size:
    """One ReplicaSet as the rollout counts it."""

    name: str
    wanted: int
    available: int
    existing: int

    @property
    def counted(self) -> int:
        """Available pods that stay: those beyond what is wanted are about to go."""
        return min(self.available, self.wanted)


def size_of(replica_set: Object) -> Size:
    status = at(replica_set, "status", default={})
    return Size(
        name_of(replica_set),
        int(at(replica_set, "spec", "replicas", default=1)),
        int(status.get("availableReplicas") or 0),
        int(status.get("replicas") or 0),
    )


def new_replicas(rollout: Rollout, new: Size, old: Sequence[Size]) -> int:
    """What the current ReplicaSet may be raised to, or must be lowered to."""
    if rollout.recreates or new.wanted >= rollout.replicas:
        return rollout.replicas
    room = rollout.replicas_max - new.wanted - sum(size.wanted for size in old)
    return new.wanted + min(max(0, room), rollout.replicas - new.wanted)


def old_replicas(rollout: Rollout, new: Size, old: Sequence[Size]) -> dict[str, int]:
    """What the others must be lowered to: name -> replicas. *old* comes with the oldest first."""
    if rollout.recreates:
        return {size.name: 0 for size in old if size.wanted}
    budget = (
        new.wanted
        + sum(size.wanted for size in old)
        - rollout.available_min
        - (new.wanted - new.counted)
    )
    wanted = {size.name: size.wanted for size in old}
    # Pods that do not serve go first: nobody misses them.
    for size in old:
        unhealthy = min(max(0, budget), size.wanted - size.counted)
        wanted[size.name] -= unhealthy
        budget -= unhealthy
    spare = new.counted + sum(size.counted for size in old) - rollout.available_min
    spare = min(spare, budget)
    for size in old:
        going = min(max(0, spare), wanted[size.name])
        wanted[size.name] -= going
        spare -= going
    return {size.name: wanted[size.name] for size in old if wanted[size.name] != size.wanted}


def is_scaled(rollout: Rollout, replica_sets: Sequence[Object]) -> bool:
    """Whether the Deployment's replicas changed since its ReplicaSets were last sized."""
    return any(
        annotations_of(replica_set).get(DESIRED, str(rollout.replicas)) != str(rollout.replicas)
        for replica_set in replica_sets
        if size_of(replica_set).wanted > 0
    )


def scaled(rollout: Rollout, new: Object | None, old: Sequence[Object]) -> dict[str, int]:
    """The sizes after a change of the Deployment's replicas: name -> replicas.

    In the middle of a rollout every active ReplicaSet takes its share of the change, so that
    neither version of the pods is favoured.
    """
    every = [*by_age(old), *([new] if new is not None else [])]
    active = [replica_set for replica_set in every if size_of(replica_set).wanted > 0]
    if len(active) <= 1:
        only = active[0] if active else (new or (every[-1] if every else None))
        return {} if only is None else {name_of(only): rollout.replicas}
    if new is not None and _is_saturated(rollout, new):
        return {name_of(rs): 0 for rs in old if size_of(rs).wanted > 0}
    if rollout.recreates:
        return {}
    return _proportional(rollout, active)


def _is_saturated(rollout: Rollout, new: Object) -> bool:
    size = size_of(new)
    return size.wanted == rollout.replicas == size.available and (
        annotations_of(new).get(DESIRED) == str(rollout.replicas)
    )


def _proportional(rollout: Rollout, active: Sequence[Object]) -> dict[str, int]:
    """*active* comes with the oldest first."""
    allowed = rollout.replicas_max if rollout.replicas > 0 else 0
    change = allowed - sum(size_of(replica_set).wanted for replica_set in active)
    if change > 0:  # Ties go to the newer when growing, to the older when shrinking.
        active = list(reversed(active))
    active = sorted(active, key=lambda rs: -size_of(rs).wanted)
    result: dict[str, int] = {}
    spent = 0
    for replica_set in active:
        wanted = size_of(replica_set).wanted
        left = change - spent
        share = _share(rollout, replica_set, allowed)
        share = min(max(share, 0), left) if change > 0 else max(min(share, 0), left)
        result[name_of(replica_set)] = wanted + share
        spent += share
    largest = name_of(active[0])
    result[largest] = max(0, result[largest] + change - spent)
    return result


def _share(rollout: Rollout, replica_set: Object, allowed: int) -> int:
    wanted = size_of(replica_set).wanted
    if rollout.replicas == 0:
        return -wanted
    before = int(annotations_of(replica_set).get(MAXIMUM) or 0) or allowed
    # Integer rounding, half up: float rounding would make shares differ between machines.
    return (2 * wanted * allowed + before) // (2 * before) - wanted
