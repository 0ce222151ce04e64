"""The status of a Pod, from what has happened to it. Pure.

The same arguments give the same status, so that nothing is written when nothing has changed.
Conditions that others set (readiness gates among them) are kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from motorpool.api.conditions import merged
from motorpool.api.meta import Object, at
from motorpool.base.clock import rfc3339
from motorpool.node.machine import (
    IMAGE_ERROR_SHOWN_S,
    is_initialized,
    outcome,
    waits_to_restart,
)
from motorpool.node.pod import Container, Pod
from motorpool.node.seen import Exit, PodSeen, Problem, Seen, run_id

CONTAINER_ID_SCHEME = "motorpool://"
OWN_CONDITIONS = (
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Where:
    """The addresses of a Pod; its own is "" until it has one."""

    pod_ip: str
    host_ip: str


def container_id(uid: str, container: str, run: int) -> str:
    return CONTAINER_ID_SCHEME + run_id(uid, container, run)


def pod_status(pod: Pod, obj: Object, seen: PodSeen, where: Where, now: float) -> Object:
    """The whole of ``status``, given the object with the status that it has."""
    old: Object = obj.get("status") or {}
    moment = _moment(now)
    phase = _phase(pod, seen)
    status: Object = {
        **{key: old[key] for key in ("nominatedNodeName", "resize") if key in old},
        "phase": phase,
        "conditions": _conditions(pod, old, seen, phase, moment),
        "hostIP": where.host_ip,
        "hostIPs": [{"ip": where.host_ip}],
        **({"podIP": where.pod_ip, "podIPs": [{"ip": where.pod_ip}]} if where.pod_ip else {}),
        "startTime": old.get("startTime") or moment,
    }
    if pod.init_containers:
        status["initContainerStatuses"] = [
            _container_status(pod, container, seen, now) for container in pod.init_containers
        ]
    if seen.verdict is not None:
        status |= {"reason": seen.verdict.reason, "message": seen.verdict.message}
    status["containerStatuses"] = [
        _container_status(pod, container, seen, now) for container in pod.containers
    ]
    status["qosClass"] = old.get("qosClass") or qos_class(obj["spec"])
    return status


def qos_class(spec: Object) -> str:
    """Guaranteed: requests and limits of cpu and memory equal everywhere; BestEffort: none."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    resources = [container.get("resources") or {} for container in containers]
    named = ("cpu", "memory")
    if not any(
        at(resource, side, name) is not None
        for resource in resources for side in ("requests", "limits") for name in named
    ):  # fmt: skip
        return "BestEffort"
    for resource in resources:
        limits = resource.get("limits") or {}
        requests = {**limits, **(resource.get("requests") or {})}
        if any(name not in limits or str(requests[name]) != str(limits[name]) for name in named):
            return "Burstable"
    return "Guaranteed"


def _phase(pod: Pod, seen: PodSeen) -> str:
    over = outcome(pod, seen)
    if over is not None:
        return over
    begun = all(_has_run(seen.of(container.name)) for container in pod.containers)
    return "Running" if begun and is_initialized(pod, seen) else "Pending"


def _has_run(seen: Seen) -> bool:
    return seen.phase in ("running", "exited") or seen.run > 0


def _conditions(
    pod: Pod, old: Object, seen: PodSeen, phase: str, moment: str
) -> list[Object]:  # fmt: skip
    before = old.get("conditions") or []
    over = phase in ("Succeeded", "Failed")
    initialized = is_initialized(pod, seen) or phase == "Succeeded"
    incomplete = [c.name for c in pod.init_containers if seen.of(c.name).exit is None]
    unready = [c.name for c in pod if (not c.is_init or c.is_sidecar) and not seen.of(c.name).ready]
    begun = any(seen.of(c.name).phase not in ("absent", "failed") for c in pod)
    containers_ready = not unready and not over
    gates = [
        gate for gate in pod.readiness_gates
        if not any(c["type"] == gate and c["status"] == "True" for c in before)
    ]  # fmt: skip
    new = [
        _condition("PodReadyToStartContainers", begun and not over),
        _condition(
            "Initialized", initialized, "ContainersNotInitialized",
            f"containers with incomplete status: {_listed(incomplete)}",
        ),
        _ready("Ready", containers_ready and not gates, phase, unready, gates),
        _ready("ContainersReady", containers_ready, phase, unready, []),
        _condition("PodScheduled", True),
    ]  # fmt: skip
    if phase == "Succeeded":
        new[1]["reason"] = "PodCompleted"
    others = [condition for condition in before if condition["type"] not in OWN_CONDITIONS]
    return [*merged(before, new, moment), *others]


def _ready(
    type_: str, ready: bool, phase: str, unready: list[str], gates: list[str]
) -> Object:  # fmt: skip
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return _condition(type_, False, reason, "")
    if not unready and gates:
        message = "; ".join(
            f'corresponding condition of pod readiness gate "{gate}" does not exist or is not True'
            for gate in gates
        )
        return _condition(type_, False, "ReadinessGatesNotReady", message)
    message = f"containers with unready status: {_listed(unready)}"
    return _condition(type_, ready, "ContainersNotReady", message)


def _condition(type_: str, is_true: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {
        "type": type_,
        "status": "True" if is_true else "False",
    }
    if not is_true and reason:
        condition["reason"] = reason
    if not is_true and message:
        condition["message"] = message
    return condition


def _listed(names: Iterable[str]) -> str:
    return "[" + " ".join(names) + "]"


def _container_status(pod: Pod, container: Container, seen: PodSeen, now: float) -> Object:
    own = seen.of(container.name)
    state, last = _states(pod, container, seen, now)
    status: Object = {
        "name": container.name,
        "state": state,
        "lastState": last,
        "ready": own.ready or _has_completed(container, own),
        "restartCount": own.run,
        "image": own.image or container.image,
        "imageID": own.image_id,
        "started": own.phase == "running" and own.started,
    }
    if own.phase in ("running", "exited"):
        status["containerID"] = container_id(pod.uid, container.name, own.run)
    elif own.last is not None:
        status["containerID"] = container_id(pod.uid, container.name, own.last.run)
    return status


def _has_completed(container: Container, seen: Seen) -> bool:
    """An init container that has done its work counts as ready."""
    if not container.is_init or container.is_sidecar:
        return False
    return seen.exit is not None and seen.exit.code == 0


def _states(
    pod: Pod, container: Container, seen: PodSeen, now: float
) -> tuple[Object, Object]:  # fmt: skip
    """``state`` and ``lastState``."""
    own = seen.of(container.name)
    before = _terminated(pod, container, own.last) if own.last else {}
    match own.phase:
        case "running":
            return {"running": {"startedAt": _moment(own.started_at)}}, before
        case "exited" if own.exit is not None:
            end = _terminated(pod, container, own.exit)
            if waits_to_restart(container, own, now) and not pod.is_deleting:
                message = (
                    f"back-off {_duration(own.back_off_s)} restarting failed"
                    f" container={container.name} pod={pod.full_name}"
                )
                return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, end
            return end, before
        case "failed" if own.problem is not None:
            return {"waiting": _trouble(own.problem, now)}, before
        case _:
            return {"waiting": _waiting(pod, container, seen, now)}, before


def _waiting(pod: Pod, container: Container, seen: PodSeen, now: float) -> Object:
    problem = seen.volumes.problem
    if seen.volumes.phase == "failed" and problem is not None:
        return _trouble(problem, now)
    if pod.init_containers and not is_initialized(pod, seen):
        return {"reason": "PodInitializing"}
    return {"reason": "ContainerCreating"}


def _trouble(problem: Problem, now: float) -> Object:
    reason, message = problem.reason, problem.message
    if reason == "ErrImagePull" and now >= problem.at + IMAGE_ERROR_SHOWN_S:
        message = f'Back-off pulling image "{problem.image}": {reason}: {message}'
        reason = "ImagePullBackOff"
    return {"reason": reason, "message": message}


def _terminated(pod: Pod, container: Container, end: Exit) -> Object:
    state: Object = {"exitCode": end.code}
    if end.signal:
        state["signal"] = end.signal
    state["reason"] = end.reason
    if end.message:
        state["message"] = end.message
    state["startedAt"] = _moment(end.started_at)
    state["finishedAt"] = _moment(end.finished_at)
    state["containerID"] = container_id(pod.uid, container.name, end.run)
    return {"terminated": state}


def _moment(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _duration(seconds: float) -> str:
    """As Go prints it: ``10s``, ``1m20s``, ``5m0s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
