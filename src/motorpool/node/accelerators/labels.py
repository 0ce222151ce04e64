"""What a Node tells of its accelerators: amounts, and the labels that the vendors' tools write.

Pure. The names are those of NVIDIA's GPU feature discovery, AMD's node labeller and Habana's
feature discovery, so that a nodeSelector from a cluster selects here too.
"""

import re
from collections.abc import Mapping, Sequence

from motorpool.node.accelerators.device import (
    AMD,
    GAUDI,
    NVIDIA,
    RESOURCES,
    Device,
    Inventory,
    of_resource,
)

LABEL_LENGTH_MAX = 63
_FAMILIES = {1: "tesla", 2: "fermi", 3: "kepler", 5: "maxwell", 6: "pascal", 9: "hopper"}
_GIB = 1024


def capacity(devices: Inventory) -> dict[str, str]:
    """How many there are, of each kind that there is."""
    return {
        resource: str(len(found))
        for resource in RESOURCES
        if (found := of_resource(devices, resource))
    }


def allocatable(devices: Inventory) -> dict[str, str]:
    """How many of them work; a kind of which none does is still named."""
    return {
        resource: str(sum(device.is_healthy for device in of_resource(devices, resource)))
        for resource in capacity(devices)
    }


def node_labels(devices: Inventory) -> dict[str, str]:
    labels: dict[str, str] = {}
    for resource, labels_of in _LABELS.items():
        found = of_resource(devices, resource)
        if found:
            labels |= labels_of(found)
    return {name: text for name, value in labels.items() if (text := label_value(value))}


def is_of_accelerator(name: str) -> bool:
    """Whether a label with that name may be one of ours."""
    return name.startswith(("nvidia.com/", "amd.com/gpu.", "habana.ai/"))


def label_value(text: str) -> str:
    """*text* as a label's value: spaces become dashes, what is not allowed goes."""
    kept = re.sub(r"[^A-Za-z0-9_.-]", "", text.strip().replace(" ", "-"))
    return kept[:LABEL_LENGTH_MAX].strip("-_.")


def nvidia_family(major: int, minor: int) -> str:
    """The architecture behind a compute capability; "" where we know none."""
    if major == 7:
        return "turing" if minor >= 5 else "volta"
    if major == 8:
        return "ada-lovelace" if minor >= 9 else "ampere"
    return "blackwell" if major in (10, 11, 12) else _FAMILIES.get(major, "")


def _nvidia(devices: Sequence[Device]) -> dict[str, str]:
    first = devices[0]
    labels = {
        "gpu.present": "true",
        "gpu.count": str(len(devices)),
        "gpu.replicas": "1",
        "gpu.product": first.product,
        "gpu.memory": str(first.memory_mib or ""),
        **first.facts,
    }
    return {f"{NVIDIA.split('/')[0]}/{name}": value for name, value in labels.items()}


def _amd(devices: Sequence[Device]) -> dict[str, str]:
    first = devices[0]
    labels = {
        "product-name": first.product,
        "vram": f"{first.memory_mib // _GIB}G" if first.memory_mib >= _GIB else "",
        **first.facts,
    }
    return {f"{AMD}.{name}": value for name, value in labels.items()}


def _gaudi(devices: Sequence[Device]) -> dict[str, str]:
    first = devices[0]
    labels: Mapping[str, str] = {
        "gaudi.present": "true",
        "device.count": str(len(devices)),
        "product.name": first.product,
        **first.facts,
    }
    return {f"{GAUDI.split('/')[0]}/{name}": value for name, value in labels.items()}


_LABELS = {NVIDIA: _nvidia, AMD: _amd, GAUDI: _gaudi}
