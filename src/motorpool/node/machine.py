"""What the node should do next about one Pod. Pure; `worker.py` does it.

    volumes -> init containers, one after the other -> containers, all at once -> restarts
    deleting, or over: SIGTERM to the containers, then the sidecars in reverse, SIGKILL after grace

Rules: a step is given once: whoever carries it out changes what is seen (`seen.py`) before the
next question. A plan says when to ask again although nothing has happened.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motorpool.node.pod import Container, Pod
from motorpool.node.seen import PodSeen, Problem, Seen, Verdict

SIDECAR_GRACE_LEAST_S = 2.0
IMAGE_ERROR_SHOWN_S = 1.0
"""For so long a failed pull shows as ErrImagePull, then as ImagePullBackOff."""

DEADLINE_EXCEEDED = Verdict(
    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
)


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    pass


@dataclass(frozen=True, slots=True)
class AbandonVolumes:
    """Stop preparing them: the Pod goes."""


@dataclass(frozen=True, slots=True)
class AbandonPull:
    """Stop waiting for its image: the Pod goes."""

    container: str


@dataclass(frozen=True, slots=True)
class Start:
    container: str


@dataclass(frozen=True, slots=True)
class Stop:
    container: str
    grace_s: float
    why: Literal["deleted", "over", "liveness", "startup", "changed"]


@dataclass(frozen=True, slots=True)
class Kill:
    container: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The Pod as a whole has failed, whatever its containers do."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing of the Pod runs: its object and its directory may go."""


Step: TypeAlias = (
    PrepareVolumes | AbandonVolumes | AbandonPull | Start | Stop | Kill | Fail | Finish
)
Outcome: TypeAlias = Literal["Succeeded", "Failed"]


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...] = ()
    again_at: float | None = None


def next_steps(pod: Pod, seen: PodSeen, now: float) -> Plan:
    if pod.is_deleting:
        return _end(pod, seen, now, pod.deletion_grace_s, "deleted")
    if outcome(pod, seen) is not None:
        return _end(pod, seen, now, pod.grace_s, "over")
    if pod.active_until is not None and pod.active_until <= now:
        return Plan((Fail(DEADLINE_EXCEEDED),))
    deadline = Plan((), pod.active_until)
    if seen.volumes.phase == "ready":
        due = [_container_plan(c, seen.of(c.name), pod, now) for c in _due(pod, seen)]
        return _merged([*due, deadline])
    # What runs under a new agent is looked after before its volumes are found again.
    alive = [c for c in pod if seen.of(c.name).phase == "running"]
    health = [_health_plan(c, seen.of(c.name), pod, now) for c in alive]
    return _merged([_volumes_plan(seen, now), *health, deadline])


def _volumes_plan(seen: PodSeen, now: float) -> Plan:
    match seen.volumes.phase:
        case "absent":
            return Plan((PrepareVolumes(),))
        case "failed":
            return _again(seen.volumes.problem, PrepareVolumes(), now)
        case _:
            return Plan()


def outcome(pod: Pod, seen: PodSeen) -> Outcome | None:
    """How the Pod ended, if it has."""
    if seen.verdict is not None:
        return "Failed"
    for container in pod.init_containers:
        end = seen.of(container.name).exit
        if end is not None and end.code != 0 and container.restart_policy == "Never":
            return "Failed"
    codes = []
    for container in pod.containers:
        own = seen.of(container.name)
        if own.exit is None or _restarts(container, own):
            return None
        codes.append(own.exit.code)
    return "Failed" if any(codes) else "Succeeded"


def is_initialized(pod: Pod, seen: PodSeen) -> bool:
    return all(_has_passed(container, seen.of(container.name)) for container in pod.init_containers)


def waits_to_restart(container: Container, seen: Seen, now: float) -> bool:
    """Whether it shows CrashLoopBackOff."""
    if seen.phase != "exited" or seen.exit is None:
        return False
    return _restarts(container, seen) and now < seen.restart_at


def _has_passed(container: Container, seen: Seen) -> bool:
    """Whether an init container lets the next one start."""
    if container.is_sidecar:
        # Once the containers run, a sidecar that restarts holds nothing up.
        return seen.started or (seen.run > 0 and seen.phase != "absent")
    return seen.exit is not None and seen.exit.code == 0


def _restarts(container: Container, seen: Seen) -> bool:
    """Whether a container that has ended starts again."""
    if seen.changes:
        return True
    if container.restart_policy == "OnFailure":
        return seen.exit is not None and seen.exit.code != 0
    return container.restart_policy == "Always"


def _due(pod: Pod, seen: PodSeen) -> list[Container]:
    """The containers whose turn it is, sidecars that run already included."""
    due: list[Container] = []
    for container in pod.init_containers:
        if container.is_sidecar:
            due.append(container)
        if not _has_passed(container, seen.of(container.name)):
            return due if container.is_sidecar else [*due, container]
    return [*due, *pod.containers]


def _container_plan(container: Container, seen: Seen, pod: Pod, now: float) -> Plan:
    match seen.phase:
        case "absent":
            return Plan((Start(container.name),))
        case "pulling" | "starting":
            return Plan()
        case "failed":
            return _again(seen.problem, Start(container.name), now)
        case "running":
            return _health_plan(container, seen, pod, now)
        case "exited":
            if seen.exit is None or not _restarts(container, seen):
                return Plan()
            if now < seen.restart_at:
                return Plan((), seen.restart_at)
            return Plan((Start(container.name),))


def _health_plan(container: Container, seen: Seen, pod: Pod, now: float) -> Plan:
    if seen.stopping is not None:
        return _kill_plan(container, seen, seen.stopping.grace_s, now)
    if seen.unhealthy == "liveness":
        return Plan((Stop(container.name, pod.grace_s, "liveness"),))
    if seen.unhealthy == "startup":
        return Plan((Stop(container.name, pod.grace_s, "startup"),))
    if seen.image not in ("", container.image) and (container.is_sidecar or not container.is_init):
        return Plan((Stop(container.name, pod.grace_s, "changed"),))
    return Plan()


def _kill_plan(container: Container, seen: Seen, grace_s: float, now: float) -> Plan:
    stopping = seen.stopping
    if stopping is None or stopping.killed:
        return Plan()
    kill_at = stopping.since + min(grace_s, stopping.grace_s)
    return Plan((Kill(container.name),)) if kill_at <= now else Plan((), kill_at)


def _end(
    pod: Pod, seen: PodSeen, now: float, grace_s: float, why: Literal["deleted", "over"]
) -> Plan:
    if seen.volumes.phase == "preparing":
        return Plan((AbandonVolumes(),))
    pulling = [c.name for c in pod if seen.of(c.name).phase == "pulling"]
    if pulling:
        return Plan(tuple(AbandonPull(name) for name in pulling))
    alive = [c for c in pod if seen.of(c.name).phase in ("running", "starting")]
    if not alive:
        return Plan((Finish(),)) if why == "deleted" else Plan()
    main = [container for container in alive if not container.is_sidecar]
    if not main:
        begun = [s.since for c in pod if (s := seen.of(c.name).stopping) is not None]
        spent_s = now - min(begun, default=now)
        grace_s = grace_s and max(SIDECAR_GRACE_LEAST_S, grace_s - spent_s)
    plans = []
    for container in main or alive[-1:]:
        container_seen = seen.of(container.name)
        if container_seen.phase == "starting":
            continue  # It is told to stop once it runs.
        if container_seen.stopping is None:
            plans.append(Plan((Stop(container.name, grace_s, why),)))
        else:
            plans.append(_kill_plan(container, container_seen, grace_s, now))
    return _merged(plans)


def _again(problem: Problem | None, step: Step, now: float) -> Plan:
    if problem is None or problem.retry_at <= now:
        return Plan((step,))
    shown_until = problem.at + IMAGE_ERROR_SHOWN_S
    if problem.is_about_image and now < shown_until:
        return Plan((), shown_until)
    return Plan((), problem.retry_at)


def _merged(plans: Iterable[Plan]) -> Plan:
    plans = list(plans)
    steps = tuple(step for plan in plans for step in plan.steps)
    again = [plan.again_at for plan in plans if plan.again_at is not None]
    return Plan(steps, min(again, default=None))
