"""A machine with accelerators: the stand-in library, compiled once, and trees as the kernel's."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, Device
from tests.standin_nvml import Driver, compile_library


def device(id_: str, resource: str = NVIDIA, index: int = 0, **fields: object) -> Device:
    product = {NVIDIA: "NVIDIA A100-SXM4-40GB", AMD: "AMD Instinct MI300X", GAUDI: "GAUDI2"}
    return Device(resource, id_, index, product[resource], **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    state = tmp_path / "gpus"
    # getenv() of C reads the environment of the process, and so does what starts from here.
    monkeypatch.setenv("STANDIN_NVML", str(state))
    return Driver(nvml_library, state)


def write_tree(root: Path, files: Iterable[tuple[str, str]]) -> Path:
    for name, text in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


MI300X = {
    "cpu_cores_count": 0, "simd_count": 1216, "simd_per_cu": 4, "gfx_target_version": 90402,
    "vendor_id": 4098, "device_id": 29857, "location_id": 0, "domain": 0, "unique_id": 0,
    "drm_render_minor": 0,
}  # fmt: skip


def kfd_node(number: int, gpu_id: int, **properties: int) -> list[tuple[str, str]]:
    """One node of the compute driver's topology; the processors have no GPU id."""
    base = f"class/kfd/kfd/topology/nodes/{number}"
    lines = "\n".join(f"{name} {value}" for name, value in properties.items())
    return [(f"{base}/gpu_id", str(gpu_id)), (f"{base}/properties", lines), (f"{base}/name", "")]


@pytest.fixture
def amd_tree(tmp_path: Path) -> Path:
    """Two processors, two MI300X; the second has neither a unique id nor a memory file."""
    first = MI300X | {"unique_id": 0x62DB6D4B6A10F5C3, "drm_render_minor": 128, "location_id": 2816}
    second = MI300X | {"drm_render_minor": 136, "location_id": 8451, "domain": 1}
    return write_tree(
        tmp_path / "sys",
        [
            *kfd_node(0, 0, cpu_cores_count=48, simd_count=0),
            *kfd_node(1, 0, cpu_cores_count=48, simd_count=0),
            *kfd_node(2, 28851, **first),
            *kfd_node(10, 51499, **second),
            ("class/kfd/kfd/topology/nodes/10/mem_banks/0/properties",
             "heap_type 1\nsize_in_bytes 206141652992\nflags 0"),
            ("class/drm/renderD128/device/mem_info_vram_total", "206141652992"),
            ("class/drm/renderD128/device/product_name", "AMD Instinct MI300X OAM"),
            ("module/amdgpu/version", "6.8.5"),
        ],
    )  # fmt: skip


def accel(number: int, address: str, **files: str) -> list[tuple[str, str]]:
    base = f"class/accel/accel{number}/device"
    found = {"vendor": "0x1da3", "pci_addr": address, "device_type": "GAUDI2", **files}
    return [(f"{base}/{name}", text) for name, text in found.items()]


@pytest.fixture
def gaudi_tree(tmp_path: Path) -> Path:
    """Three Gaudi 2, one of them in reset, beside another maker's accelerator."""
    return write_tree(
        tmp_path / "sys",
        [
            *accel(0, "0000:19:00.0", status="operational", module_id="6"),
            *accel(1, "0000:b3:00.0", status="operational", module_id="3"),
            *accel(2, "0000:b4:00.0", status="in reset", module_id="2"),
            *accel(3, "0000:00:0b.0", vendor="0x8086", device_type="NPU"),
            ("class/accel/accel_controlD0/dev", "261:64"),
            ("module/habanalabs/version", "1.19.2-3d9c8be"),
        ],
    )
