"""A Pod's spec as the node decides on it. Pure: a typed view, the object itself stays whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motorpool.api.meta import Object, at, is_deleting, name_of, namespace_of, uid_of
from motorpool.base.clock import parse_rfc3339

RestartPolicy: TypeAlias = Literal["Always", "OnFailure", "Never"]
GRACE_DEFAULT_S = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str
    pull_policy: str
    restart_policy: RestartPolicy
    """What applies to it: init containers restart on failure where the Pod says Always."""
    is_init: bool
    is_sidecar: bool
    """An init container that goes on running beside the others."""
    spec: Object

    @property
    def has_startup_probe(self) -> bool:
        return bool(self.spec.get("startupProbe"))

    @property
    def has_readiness_probe(self) -> bool:
        return bool(self.spec.get("readinessProbe"))


@dataclass(frozen=True, slots=True)
class Pod:
    uid: str
    namespace: str
    name: str
    restart_policy: RestartPolicy
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    grace_s: float
    is_deleting: bool
    deletion_grace_s: float
    readiness_gates: tuple[str, ...]
    active_until: float | None = None
    """When its ``activeDeadlineSeconds`` are over, counted from its start on this node."""

    def __iter__(self) -> Iterator[Container]:
        yield from self.init_containers
        yield from self.containers

    @property
    def full_name(self) -> str:
        """As the messages about containers have it: ``name_namespace(uid)``."""
        return f"{self.name}_{self.namespace}({self.uid})"

    def container(self, name: str) -> Container:
        return next(container for container in self if container.name == name)


def pod_of(obj: Object) -> Pod:
    spec = obj["spec"]
    policy: RestartPolicy = spec.get("restartPolicy") or "Always"
    grace_s = float(at(spec, "terminationGracePeriodSeconds", default=GRACE_DEFAULT_S))
    deletion_grace_s = float(at(obj, "metadata", "deletionGracePeriodSeconds", default=grace_s))
    return Pod(
        uid=uid_of(obj),
        namespace=namespace_of(obj),
        name=name_of(obj),
        restart_policy=policy,
        init_containers=tuple(
            _container(container, policy, is_init=True)
            for container in spec.get("initContainers") or ()
        ),
        containers=tuple(
            _container(container, policy, is_init=False) for container in spec["containers"]
        ),
        grace_s=grace_s,
        is_deleting=is_deleting(obj),
        deletion_grace_s=deletion_grace_s,
        readiness_gates=tuple(
            gate["conditionType"] for gate in spec.get("readinessGates") or ()
        ),
        active_until=_active_until(obj),
    )  # fmt: skip


def _active_until(obj: Object) -> float | None:
    seconds, start = at(obj, "spec", "activeDeadlineSeconds"), at(obj, "status", "startTime")
    if seconds is None or not start:
        return None
    return parse_rfc3339(str(start)).timestamp() + float(seconds)


def _container(spec: Object, pod_policy: RestartPolicy, *, is_init: bool) -> Container:
    is_sidecar = is_init and spec.get("restartPolicy") == "Always"
    policy = pod_policy
    if is_sidecar:
        policy = "Always"
    elif is_init and pod_policy == "Always":
        policy = "OnFailure"
    image = str(spec.get("image", ""))
    return Container(
        name=spec["name"],
        image=image,
        pull_policy=spec.get("imagePullPolicy") or default_pull_policy(image),
        restart_policy=policy,
        is_init=is_init,
        is_sidecar=is_sidecar,
        spec=spec,
    )


def default_pull_policy(reference: str) -> Literal["Always", "IfNotPresent"]:
    """Always for the tag latest, and for none."""
    last = reference.rsplit("/", 1)[-1]
    if "@" not in last and last.partition(":")[2] in ("", "latest"):
        return "Always"
    return "IfNotPresent"
