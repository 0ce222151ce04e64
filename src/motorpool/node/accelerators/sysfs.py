"""AMD GPUs and Intel Gaudi, as the kernel shows them. Reads files and nothing else.

    AMD     class/kfd/kfd/topology/nodes/N   the compute driver's own order, which ROCr counts in
            class/drm/renderDM/device        the product's name, the memory
    Gaudi   class/accel/accelN/device        Habana's among the accelerators (there are others)

Rule: what cannot be read is left out. A driver that is being loaded or unloaded shows half a tree.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from motorpool.node.accelerators.device import AMD, GAUDI, Device

SYSFS = Path("/sys")
HABANA_VENDOR = "0x1da3"
_MIB = 1024 * 1024
_OPERATIONAL = frozenset(("", "operational"))
_FAMILIES = {8: "VI", 9: "AI", 10: "NV", 11: "NV", 12: "NV"}
"""AMD's acronyms, by the major version of the shader."""


def amd_devices(root: Path = SYSFS) -> list[Device]:
    found: list[Device] = []
    topology = root / "class/kfd/kfd/topology/nodes"
    for node in sorted(_entries(topology, ""), key=lambda path: int(path.name)):
        properties = _properties(node / "properties")
        # The processors are nodes too, without a shader.
        if int(properties.get("simd_count", 0)) == 0 or _text(node / "gpu_id") in ("", "0"):
            continue
        found.append(_amd_device(root, node, properties, len(found)))
    return found


def _amd_device(root: Path, node: Path, properties: dict[str, str], index: int) -> Device:
    minor = properties.get("drm_render_minor", "")
    card = root / f"class/drm/renderD{minor}/device"
    memory = _text(card / "mem_info_vram_total")
    banks = (_properties(bank / "properties") for bank in _entries(node / "mem_banks", ""))
    memory_bytes = int(memory) if memory else sum(int(b.get("size_in_bytes", 0)) for b in banks)
    unique = properties.get("unique_id", "0")
    shaders, per_unit = int(properties["simd_count"]), int(properties.get("simd_per_cu", 0))
    version = int(properties.get("gfx_target_version", 0))
    facts = {
        "device-id": f"{int(properties.get('device_id', 0)):x}",
        "simd-count": str(shaders),
        "cu-count": str(shaders // per_unit) if per_unit else "",
        "family": _FAMILIES.get(version // 10_000, ""),
        "driver-version": _text(root / "module/amdgpu/version"),
    }
    return Device(
        resource=AMD,
        id=f"GPU-{int(unique):x}" if unique != "0" else _pci_address(properties),
        index=index,
        product=_text(card / "product_name") or _text(node / "name"),
        memory_mib=memory_bytes // _MIB,
        nodes=("/dev/kfd", f"/dev/dri/renderD{minor}"),
        facts=facts,
    )


def gaudi_devices(root: Path = SYSFS) -> list[Device]:
    found = []
    for entry in _entries(root / "class/accel", "accel"):
        device = entry / "device"
        if _text(device / "vendor") != HABANA_VENDOR:
            continue
        index = int(entry.name.removeprefix("accel"))
        module = _text(device / "module_id")
        address = _text(device / "pci_addr") or device.resolve().name
        found.append(
            Device(
                resource=GAUDI,
                id=address,
                index=index,
                product=_text(device / "device_type"),
                nodes=(f"/dev/accel/accel{index}", f"/dev/accel/accel_controlD{index}"),
                module=int(module) if module.isdigit() else index,
                is_healthy=_text(device / "status").lower() in _OPERATIONAL,
                facts={"driver.version": _text(root / "module/habanalabs/version")},
            )
        )
    return sorted(found, key=lambda device: device.index)


def _entries(directory: Path, prefix: str) -> Iterator[Path]:
    """What *directory* holds that is called *prefix* and a number."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.name.startswith(prefix) and path.name.removeprefix(prefix).isdigit():
                yield path


def _properties(path: Path) -> dict[str, str]:
    """A file of lines, each a name and a number."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _pci_address(properties: dict[str, str]) -> str:
    location, domain = int(properties.get("location_id", 0)), int(properties.get("domain", 0))
    return f"{domain:04x}:{location >> 8:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
