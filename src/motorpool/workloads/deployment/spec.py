"""What a Deployment asks for, as far as the rollout decides on it. Pure.

A percentage of pods is rounded in the user's favour on both sides: maxSurge up, maxUnavailable
down. Where that leaves both at zero nothing could ever move, so that one pod may be unavailable.
"""

import math
from dataclasses import dataclass

from motorpool.api.meta import Object, at

NO_DEADLINE_S = 2**31 - 1
"""What a user writes who wants no progress deadline."""


@dataclass(frozen=True, slots=True)
class Rollout:
    replicas: int
    max_surge: int
    max_unavailable: int
    recreates: bool
    paused: bool
    min_ready_s: int
    history_limit: int
    deadline_s: int | None

    @property
    def replicas_max(self) -> int:
        """The most pods that may exist at a time."""
        return self.replicas + self.max_surge

    @property
    def available_min(self) -> int:
        """The fewest pods that must serve at any time."""
        return self.replicas - self.max_unavailable


def rollout_of(deployment: Object) -> Rollout:
    spec = deployment["spec"]
    replicas = int(at(spec, "replicas", default=1))
    recreates = at(spec, "strategy", "type") == "Recreate"
    surge, unavailable = (0, 0) if recreates else _bounds(spec, replicas)
    deadline_s = int(at(spec, "progressDeadlineSeconds", default=600))
    return Rollout(
        replicas=replicas,
        max_surge=surge,
        max_unavailable=unavailable,
        recreates=recreates,
        paused=bool(at(spec, "paused", default=False)),
        min_ready_s=int(at(spec, "minReadySeconds", default=0)),
        history_limit=int(at(spec, "revisionHistoryLimit", default=10)),
        deadline_s=deadline_s if deadline_s < NO_DEADLINE_S else None,
    )


def _bounds(spec: Object, replicas: int) -> tuple[int, int]:
    rolling = at(spec, "strategy", "rollingUpdate", default={})
    surge = _count(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _count(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def _count(value: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * replicas / 100 if value.endswith("%") else int(value)
    return math.ceil(share) if up else math.floor(share)
