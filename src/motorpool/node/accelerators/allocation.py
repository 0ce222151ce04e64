"""Which container of a pod gets which device. Pure.

Rules: containers run together, so each has devices of its own; init containers run before them,
one at a time, so theirs are used again. A sidecar keeps its own. As many are needed at once as the
scheduler has counted.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from motorpool.api.meta import Object
from motorpool.api.quantity import BadQuantity, parse
from motorpool.node.accelerators.device import RESOURCES, Inventory, of_resource

Allocation: TypeAlias = Mapping[str, Sequence[str]]
"""Container -> the ids of its devices."""


class Unavailable(Exception):
    """There are not as many as the pod needs."""

    def __init__(self, resource: str, requested: int, available: int) -> None:
        super().__init__(
            "Allocate failed due to requested number of devices unavailable for "
            f"{resource}. Requested: {requested}, Available: {available}, which is unexpected"
        )


def wanted(container: Object, resource: str) -> int:
    """How many devices of a kind *container* asks for."""
    resources = container.get("resources") or {}
    for group in ("limits", "requests"):
        asked = (resources.get(group) or {}).get(resource)
        if asked is not None:
            try:
                return int(parse(asked))
            except BadQuantity:
                return 0  # The API server refuses it; here it is nothing to give.
    return 0


def is_asking(spec: Object) -> bool:
    """Whether any container of a pod's *spec* wants a device."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return any(wanted(each, resource) for each in containers for resource in RESOURCES)


def allocate(spec: Object, devices: Inventory, taken: frozenset[str]) -> dict[str, list[str]]:
    """Devices for each container of *spec*; other pods have *taken*. Raises Unavailable."""
    given: dict[str, list[str]] = {}
    for resource in RESOURCES:
        free = [
            device.id
            for device in of_resource(devices, resource)
            if device.is_healthy and device.id not in taken
        ]
        for name, ids in _allocate(spec, resource, free).items():
            given.setdefault(name, []).extend(ids)
    return given


def _allocate(spec: Object, resource: str, free: Sequence[str]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    kept = 0  # The first of *free* that a sidecar or a container has for good.

    def give(container: Object) -> int:
        number = wanted(container, resource)
        if kept + number > len(free):
            raise Unavailable(resource, number, len(free) - kept)
        if number:
            given[container["name"]] = list(free[kept : kept + number])
        return number

    for container in spec.get("initContainers") or ():
        number = give(container)
        if container.get("restartPolicy") == "Always":
            kept += number
    for container in spec.get("containers") or ():
        kept += give(container)
    return given
