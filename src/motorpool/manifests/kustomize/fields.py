"""Where names, labels, annotations and images stand in objects. Pure.

A path is fields with slashes; ``[]`` behind one means every element of that list.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from motorpool.api.meta import Object

Change: TypeAlias = Callable[[dict[str, Any], str], None]
"""Is given a map and the key in it that the path leads to."""


class Place(NamedTuple):
    path: str
    kinds: tuple[str, ...] = ()  # none: every kind
    create: bool = False


def visit(obj: Object, place: Place, change: Change) -> None:
    """Calls *change* for every place of *obj* that there is, or may be made."""
    if not place.kinds or obj.get("kind") in place.kinds:
        _visit(obj, place.path.split("/"), change, create=place.create)


def _visit(value: Any, path: list[str], change: Change, *, create: bool) -> None:
    if not isinstance(value, dict):
        return
    name, many = path[0].removesuffix("[]"), path[0].endswith("[]")
    if len(path) == 1 and not many:
        if create or name in value:
            change(value, name)
        return
    if value.get(name) is None:
        if many or not create:
            return
        value[name] = {}
    if not many:
        _visit(value[name], path[1:], change, create=create)
    elif isinstance(value[name], list):
        for item in value[name]:
            _visit(item, path[1:], change, create=create)


WORKLOADS = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController")
POD_SPECS: Mapping[str, str] = {
    "Pod": "spec",
    **dict.fromkeys((*WORKLOADS, "Job"), "spec/template/spec"),
    "CronJob": "spec/jobTemplate/spec/template/spec",
}

_TEMPLATES = (
    Place("spec/template/metadata/{}", (*WORKLOADS, "Job"), create=True),
    Place("spec/jobTemplate/metadata/{}", ("CronJob",), create=True),
    Place("spec/jobTemplate/spec/template/metadata/{}", ("CronJob",), create=True),
)
_SELECTING_TERMS = tuple(
    f"spec/template/spec/affinity/{affinity}/{term}/labelSelector/matchLabels"
    for affinity in ("podAffinity", "podAntiAffinity")
    for term in (
        "preferredDuringSchedulingIgnoredDuringExecution[]/podAffinityTerm",
        "requiredDuringSchedulingIgnoredDuringExecution[]",
    )
)
SELECTORS = (
    Place("spec/selector", ("Service", "ReplicationController"), create=True),
    Place("spec/selector/matchLabels",
          ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"), create=True),
    Place("spec/selector/matchLabels", ("Job", "PodDisruptionBudget")),
    Place("spec/jobTemplate/spec/selector/matchLabels", ("CronJob",)),
    Place("spec/podSelector/matchLabels", ("NetworkPolicy",)),
    Place("spec/ingress[]/from[]/podSelector/matchLabels", ("NetworkPolicy",)),
    Place("spec/egress[]/to[]/podSelector/matchLabels", ("NetworkPolicy",)),
    *(Place(path, ("Deployment", "StatefulSet")) for path in _SELECTING_TERMS),
    Place("spec/template/spec/topologySpreadConstraints[]/labelSelector/matchLabels",
          ("Deployment", "StatefulSet")),
)  # fmt: skip


CLAIM_LABELS = Place("spec/volumeClaimTemplates[]/metadata/labels", ("StatefulSet",), create=True)


def templates(of: str) -> tuple[Place, ...]:
    """The *of* (labels, annotations) of what the object makes."""
    return tuple(place._replace(path=place.path.format(of)) for place in _TEMPLATES)


class Reference(NamedTuple):
    """A place that holds the name of an object."""

    place: Place
    kinds: tuple[str, ...]  # of what is named; () where a field beside the name says it
    with_namespace: bool = False


_IN_PODS: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": (
        "volumes[]/configMap/name", "volumes[]/projected/sources[]/configMap/name",
        *(f"{group}[]/{path}" for group in ("containers", "initContainers") for path in (
            "env[]/valueFrom/configMapKeyRef/name", "envFrom[]/configMapRef/name")),
    ),
    "Secret": (
        "volumes[]/secret/secretName", "volumes[]/projected/sources[]/secret/name",
        "imagePullSecrets[]/name",
        *(f"{group}[]/{path}" for group in ("containers", "initContainers") for path in (
            "env[]/valueFrom/secretKeyRef/name", "envFrom[]/secretRef/name")),
    ),
    "ServiceAccount": ("serviceAccountName",),
    "PersistentVolumeClaim": ("volumes[]/persistentVolumeClaim/claimName",),
    "PriorityClass": ("priorityClassName",),
}  # fmt: skip
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


def _references() -> Iterator[Reference]:
    for target, paths in _IN_PODS.items():
        for kind, spec in POD_SPECS.items():
            for path in paths:
                yield Reference(Place(f"{spec}/{path}", (kind,)), (target,))
    yield Reference(Place("imagePullSecrets[]/name", ("ServiceAccount",)), ("Secret",))
    yield Reference(Place("spec/tls[]/secretName", ("Ingress",)), ("Secret",))
    rule = "spec/rules[]/http/paths[]/backend/service/name"
    yield Reference(Place(rule, ("Ingress",)), ("Service",))
    yield Reference(Place("spec/defaultBackend/service/name", ("Ingress",)), ("Service",))
    yield Reference(Place("spec/serviceName", ("StatefulSet",)), ("Service",))
    yield Reference(Place("roleRef/name", _BINDINGS), ())
    yield Reference(Place("subjects[]/name", _BINDINGS), (), with_namespace=True)
    yield Reference(Place("spec/scaleTargetRef/name", ("HorizontalPodAutoscaler",)), ())
    yield Reference(Place("spec/volumeName", ("PersistentVolumeClaim",)), ("PersistentVolume",))
    storage = "spec/storageClassName"
    yield Reference(
        Place(storage, ("PersistentVolumeClaim", "PersistentVolume")), ("StorageClass",)
    )


REFERENCES = tuple(_references())
