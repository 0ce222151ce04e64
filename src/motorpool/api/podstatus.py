"""What a Pod's status says to those who count on it. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from motorpool.api.conditions import condition_of
from motorpool.api.meta import Object, at, is_deleting
from motorpool.base.clock import parse_rfc3339


def is_terminal(pod: Object) -> bool:
    """Whether all its containers ended for good."""
    return at(pod, "status", "phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: neither ended nor told to go."""
    return not is_terminal(pod) and not is_deleting(pod)


def is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Object) -> datetime | None:
    """Since when it is ready; None where it is not."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    moment = condition.get("lastTransitionTime")
    return parse_rfc3339(moment) if moment else None


def available_in_s(pod: Object, min_ready_s: int, now: datetime) -> float | None:
    """In how many seconds it has been ready for *min_ready_s*: 0 if it has, None if not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if min_ready_s <= 0 or since is None:
        return 0.0
    return max(0.0, (since + timedelta(seconds=min_ready_s) - now).total_seconds())


def restarts(pod: Object) -> int:
    """Of the container that restarted most."""
    statuses: Iterable[Object] = at(pod, "status", "containerStatuses", default=())
    return max((int(status.get("restartCount") or 0) for status in statuses), default=0)
