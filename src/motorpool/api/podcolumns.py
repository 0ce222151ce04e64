"""What ``kubectl get pods`` shows. Pure.

STATUS is one word for many states: the first init container that is not done decides while any is
not, and after that the first container in the list that has something to say.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from motorpool.api.duration import parse_time, since
from motorpool.api.kinds import Column
from motorpool.api.meta import Object, at
from motorpool.api.tables import AGE, NAME

_COMPLETED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


class PodSummary(NamedTuple):
    status: str
    ready: int
    total: int
    restarts: int
    restarted_at: str  # RFC 3339, "" where no container ended before


class _Walk(NamedTuple):
    reason: str  # "" where the walk has nothing to say
    ready: int
    restarts: int
    restarted_at: str
    restartable_restarts: int = 0
    restartable_restarted_at: str = ""


def summary(pod: Object) -> PodSummary:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    init_specs = {c.get("name"): c for c in spec.get("initContainers") or ()}
    restartable = {n for n, c in init_specs.items() if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(restartable)
    phase = str(status.get("phase") or "Unknown")
    reason = str(status.get("reason") or phase)
    if _condition(status, "PodScheduled").get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init = _init_walk(status, restartable, len(init_specs))
    reason = init.reason or reason
    ready, restarts, restarted_at = init.ready, init.restarts, init.restarted_at
    if not init.reason or _condition(status, "Initialized").get("status") == "True":
        walk = _container_walk(status)
        reason = walk.reason or reason
        ready += walk.ready
        restarts = init.restartable_restarts + walk.restarts
        restarted_at = _later(init.restartable_restarted_at, walk.restarted_at)
        if reason == "Completed" and _runs(status):
            is_ready = _condition(status, "Ready").get("status") == "True"
            reason = "Running" if is_ready else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in _COMPLETED:
            reason = "Terminating"
    return PodSummary(reason, ready, total, restarts, restarted_at)


def _condition(status: Object, kind: str) -> Object:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _init_walk(status: Object, restartable: set[Any], count: int) -> _Walk:
    ready = restarts = sidecar_restarts = 0
    restarted_at = sidecar_restarted_at = ""
    for position, container in enumerate(status.get("initContainerStatuses") or ()):
        is_sidecar = container.get("name") in restartable
        restarts += container.get("restartCount", 0)
        restarted_at = _later(restarted_at, _ended_before(container))
        if is_sidecar:
            sidecar_restarts += container.get("restartCount", 0)
            sidecar_restarted_at = _later(sidecar_restarted_at, _ended_before(container))
        state = container.get("state") or {}
        if "terminated" in state and not state["terminated"].get("exitCode"):
            continue
        if is_sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        return _Walk(
            _init_reason(state, position, count), ready, restarts, restarted_at,
            sidecar_restarts, sidecar_restarted_at,
        )  # fmt: skip
    return _Walk("", ready, restarts, restarted_at, sidecar_restarts, sidecar_restarted_at)


def _init_reason(state: Object, position: int, count: int) -> str:
    if "terminated" in state:
        return f"Init:{_ending(state['terminated'])}"
    waiting = at(state, "waiting", "reason", default="")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{position}/{count}"


def _ending(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _container_walk(status: Object) -> _Walk:
    reason = restarted_at = ""
    ready = restarts = 0
    for container in reversed(status.get("containerStatuses") or ()):
        restarts += container.get("restartCount", 0)
        restarted_at = _later(restarted_at, _ended_before(container))
        state = container.get("state") or {}
        if at(state, "waiting", "reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = _ending(state["terminated"])
        elif container.get("ready") and "running" in state:
            ready += 1
    return _Walk(reason, ready, restarts, restarted_at)


def _runs(status: Object) -> bool:
    return any(
        container.get("ready") and "running" in (container.get("state") or {})
        for container in status.get("containerStatuses") or ()
    )


def _ended_before(container: Object) -> str:
    return str(at(container, "lastState", "terminated", "finishedAt", default=""))


def _later(left: str, right: str) -> str:
    times = [(parse_time(text), text) for text in (left, right) if text]
    known = [(time, text) for time, text in times if time is not None]
    return max(known)[1] if known else ""


_latest: tuple[Object, PodSummary] = ({}, PodSummary("", 0, 0, 0, ""))


def _shared_summary(pod: Object) -> PodSummary:
    """The summary, made once for the three cells of one row: most of what a list of pods costs."""
    global _latest
    if _latest[0] is not pod:
        _latest = (pod, summary(pod))
    return _latest[1]


def _ready(pod: Object, _: datetime) -> str:
    found = _shared_summary(pod)
    return f"{found.ready}/{found.total}"


def _status(pod: Object, _: datetime) -> str:
    return _shared_summary(pod).status


def _restarts(pod: Object, now: datetime) -> str:
    found = _shared_summary(pod)
    if found.restarts and found.restarted_at:
        return f"{found.restarts} ({since(found.restarted_at, now)} ago)"
    return str(found.restarts)


def _ip(pod: Object, _: datetime) -> str:
    ips = at(pod, "status", "podIPs", default=())
    return (ips[0].get("ip") if ips else at(pod, "status", "podIP")) or "<none>"


def _gates(pod: Object, _: datetime) -> str:
    gates = at(pod, "spec", "readinessGates", default=())
    if not gates:
        return "<none>"
    status = pod.get("status") or {}
    true = sum(
        1 for g in gates if _condition(status, g.get("conditionType", "")).get("status") == "True"
    )
    return f"{true}/{len(gates)}"


COLUMNS = (
    NAME,
    Column("Ready", _ready, description="Containers that are ready, of all"),
    Column("Status", _status, description="What the pod is doing"),
    Column("Restarts", _restarts, description="How often containers started again, and when last"),
    AGE,
    Column("IP", _ip, priority=1, description="The address of the pod"),
    Column(
        "Node",
        lambda pod, _: at(pod, "spec", "nodeName") or "<none>",
        priority=1,
        description="Where the pod runs",
    ),
    Column(
        "Nominated Node",
        lambda pod, _: at(pod, "status", "nominatedNodeName") or "<none>",
        priority=1,
        description="Where room is being made for the pod",
    ),
    Column("Readiness Gates", _gates, priority=1, description="Gates that are open, of all"),
)


def row_conditions(pod: Object) -> Sequence[Object]:
    phase = at(pod, "status", "phase", default="")
    if phase not in _COMPLETED:
        return ()
    return ({"type": "Completed", "status": "True", "reason": phase, "message": _COMPLETED[phase]},)
