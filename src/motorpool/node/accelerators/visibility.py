"""How a container sees its devices and no others. Pure.

    process engine   environment variables; there is nothing else that a process would obey
    podman engine    `nodes` (device nodes) or `cdi` (names of the vendors' CDI specifications)

Rule: a container that asks for no device of a kind sees none of that kind, as on a cluster. Who
needs it otherwise says so in the container's own env, which wins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, Device


@dataclass(frozen=True, slots=True)
class Assigned:
    """What one container has."""

    devices: tuple[Device, ...] = ()
    present: frozenset[str] = frozenset()  # the kinds that this machine has

    @property
    def environment(self) -> dict[str, str]:
        env: dict[str, str] = {}
        for resource, variables in _VARIABLES.items():
            if resource in self.present or self._of(resource):
                env |= variables(self._of(resource))
        return env

    @property
    def nodes(self) -> tuple[str, ...]:
        """Device nodes to pass on, each once."""
        return tuple(dict.fromkeys(node for device in self.devices for node in device.nodes))

    @property
    def cdi(self) -> tuple[str, ...]:
        """``nvidia.com/gpu=0``, as ``nvidia-ctk cdi generate`` and its likes name them."""
        return tuple(f"{device.resource}={device.index}" for device in self.devices)

    def _of(self, resource: str) -> list[Device]:
        mine = (device for device in self.devices if device.resource == resource)
        return sorted(mine, key=lambda device: device.index)


def _nvidia(devices: Sequence[Device]) -> dict[str, str]:
    # CUDA takes UUIDs too, but servers that read the variable themselves expect numbers. Those are
    # NVML's only where CUDA does not sort by speed, which is its default.
    return {
        "NVIDIA_VISIBLE_DEVICES": _listed(device.id for device in devices) or "void",
        "CUDA_VISIBLE_DEVICES": _listed(device.index for device in devices),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def _amd(devices: Sequence[Device]) -> dict[str, str]:
    # HIP counts what ROCr has left over.
    return {
        "ROCR_VISIBLE_DEVICES": _listed(device.index for device in devices),
        "HIP_VISIBLE_DEVICES": _listed(range(len(devices))),
    }


def _gaudi(devices: Sequence[Device]) -> dict[str, str]:
    return {
        "HABANA_VISIBLE_DEVICES": _listed(device.index for device in devices) or "void",
        "HABANA_VISIBLE_MODULES": _listed(device.module for device in devices),
        "HL_VISIBLE_DEVICES": _listed(f"/dev/accel/accel{device.index}" for device in devices),
    }


_VARIABLES = {NVIDIA: _nvidia, AMD: _amd, GAUDI: _gaudi}


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))
