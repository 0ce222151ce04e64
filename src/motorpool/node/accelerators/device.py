"""One accelerator of this machine. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

NVIDIA, AMD, GAUDI = "nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi"
RESOURCES = (NVIDIA, AMD, GAUDI)


@dataclass(frozen=True, slots=True)
class Device:
    resource: str
    id: str  # stays the same over reboots: a UUID, or the PCI address where there is none
    index: int  # as the vendor's own programs count
    product: str
    memory_mib: int = 0  # 0: not known
    nodes: tuple[str, ...] = ()  # what a container needs under /dev
    module: int = 0  # Gaudi: its place on the board
    is_healthy: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)
    """More of what the vendor's node labels tell, without their prefix."""


Inventory = Mapping[str, Device]
"""Every device that was seen since the start, by its id."""


def inventory(before: Inventory, found: Iterable[Device]) -> dict[str, Device]:
    """What is known after another look: one that has vanished stays, unhealthy.

    So the node's capacity tells what the machine has, and its allocatable what still works.
    """
    gone = {id_: replace(device, is_healthy=False) for id_, device in before.items()}
    return {**gone, **{device.id: device for device in found}}


def of_resource(devices: Inventory, resource: str) -> list[Device]:
    """In the order of their index, those that work before those that do not."""
    mine = [device for device in devices.values() if device.resource == resource]
    return sorted(mine, key=lambda device: (not device.is_healthy, device.index, device.id))
