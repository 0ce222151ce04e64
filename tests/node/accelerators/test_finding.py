"""What this machine has, from the driver's library and from the kernel's files."""

from pathlib import Path

import pytest

from motorpool.node.accelerators import labels, sysfs
from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, inventory
from motorpool.node.accelerators.devices import Finder
from motorpool.node.accelerators.nvml import Nvml, NvmlError
from tests.node.accelerators.conftest import device
from tests.standin_nvml import Driver


def test_a_machine_without_a_driver_has_nothing_and_nothing_fails(tmp_path: Path) -> None:
    assert Nvml("libnvidia-ml-of-nobody.so.1").devices() == []
    assert Finder(Nvml("libnvidia-ml-of-nobody.so.1"), tmp_path)() == []
    assert labels.capacity({}) == labels.node_labels({}) == {}


def test_every_gpu_of_the_driver_is_found(driver: Driver, tmp_path: Path) -> None:
    driver.has(0, "GPU-1|NVIDIA H100 80GB HBM3|81559|1|9|0")
    for node in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / node).touch()

    first, second = Nvml(str(driver.library), tmp_path).devices()

    assert (first.resource, first.id, first.index) == (NVIDIA, "GPU-0", 0)
    assert (first.product, first.memory_mib) == ("NVIDIA A100-SXM4-40GB", 40960)
    assert first.nodes == ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
    assert (second.index, second.memory_mib) == (1, 81559)
    assert second.facts["gpu.family"] == "hopper"


def test_a_gpu_that_is_lost_is_left_out_and_the_others_are_not(driver: Driver) -> None:
    nvml = Nvml(str(driver.library))
    driver.has(0, 1)
    before = inventory({}, nvml.devices())
    driver.has("lost", 1)

    now = inventory(before, nvml.devices())

    assert {id_: found.is_healthy for id_, found in now.items()} == {"GPU-0": False, "GPU-1": True}
    assert labels.capacity(now) == {NVIDIA: "2"}
    assert labels.allocatable(now) == {NVIDIA: "1"}


def test_a_driver_that_fails_is_opened_again_once_it_answers(driver: Driver) -> None:
    nvml = Nvml(str(driver.library))
    driver.has("broken")
    with pytest.raises(NvmlError, match="nvmlInit_v2 answers 999"):
        nvml.devices()
    driver.has(0)
    assert len(nvml.devices()) == 1
    driver.has("broken")
    with pytest.raises(NvmlError):
        nvml.devices()
    driver.has(0, 1)
    assert len(nvml.devices()) == 2


def test_the_finder_says_once_what_fails_and_finds_the_rest(
    driver: Driver, gaudi_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.has("broken")
    find = Finder(Nvml(str(driver.library)), gaudi_tree)

    assert [found.resource for found in (*find(), *find())] == [GAUDI] * 6
    assert capsys.readouterr().out.count("the NVIDIA driver does not answer") == 1


def test_amd_gpus_are_found_in_the_order_of_the_compute_driver(amd_tree: Path) -> None:
    first, second = sysfs.amd_devices(amd_tree)

    assert (first.resource, first.id, first.index) == (AMD, "GPU-62db6d4b6a10f5c3", 0)
    assert (first.product, first.memory_mib) == ("AMD Instinct MI300X OAM", 196592)
    assert first.nodes == ("/dev/kfd", "/dev/dri/renderD128")
    assert (second.id, second.index) == ("0001:21:00.3", 1)
    assert second.memory_mib == 196592


def test_gaudi_is_found_among_other_accelerators(gaudi_tree: Path) -> None:
    first, second, third = sysfs.gaudi_devices(gaudi_tree)

    assert (first.resource, first.id, first.index) == (GAUDI, "0000:19:00.0", 0)
    assert (second.module, third.is_healthy) == (3, False)
    assert second.nodes == ("/dev/accel/accel1", "/dev/accel/accel_controlD1")


def test_half_a_tree_gives_what_can_be_read(amd_tree: Path, gaudi_tree: Path) -> None:
    (amd_tree / "class/kfd/kfd/topology/nodes/2/gpu_id").unlink()
    (gaudi_tree / "class/accel/accel0/device/vendor").unlink()

    assert [found.id for found in sysfs.amd_devices(amd_tree)] == ["0001:21:00.3"]
    assert [found.index for found in sysfs.gaudi_devices(gaudi_tree)] == [1, 2]


def test_the_labels_are_those_of_the_vendors(
    driver: Driver, amd_tree: Path, gaudi_tree: Path
) -> None:
    driver.has(0, 1)
    found = labels.node_labels(inventory({}, Finder(Nvml(str(driver.library)), amd_tree)()))

    assert found == {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
        "nvidia.com/gpu.memory": "40960",
        "nvidia.com/gpu.family": "ampere",
        "nvidia.com/gpu.compute.major": "8",
        "nvidia.com/gpu.compute.minor": "0",
        "nvidia.com/cuda.driver-version.full": "550.54.15",
        "nvidia.com/cuda.driver-version.major": "550",
        "nvidia.com/cuda.driver-version.minor": "54",
        "nvidia.com/cuda.driver-version.revision": "15",
        "nvidia.com/cuda.runtime-version.full": "12.4",
        "nvidia.com/cuda.runtime-version.major": "12",
        "nvidia.com/cuda.runtime-version.minor": "4",
        "amd.com/gpu.product-name": "AMD-Instinct-MI300X-OAM",
        "amd.com/gpu.vram": "191G",
        "amd.com/gpu.device-id": "74a1",
        "amd.com/gpu.simd-count": "1216",
        "amd.com/gpu.cu-count": "304",
        "amd.com/gpu.family": "AI",
        "amd.com/gpu.driver-version": "6.8.5",
        "habana.ai/gaudi.present": "true",
        "habana.ai/device.count": "3",
        "habana.ai/product.name": "GAUDI2",
        "habana.ai/driver.version": "1.19.2-3d9c8be",
    }


@pytest.mark.parametrize(
    ("capability", "family"),
    [((7, 0), "volta"), ((7, 5), "turing"), ((8, 6), "ampere"), ((8, 9), "ada-lovelace"),
     ((9, 0), "hopper"), ((12, 0), "blackwell"), ((99, 0), "")],
)  # fmt: skip
def test_a_compute_capability_names_a_family(capability: tuple[int, int], family: str) -> None:
    assert labels.nvidia_family(*capability) == family


def test_a_label_keeps_what_a_label_may_hold() -> None:
    assert labels.label_value("  Radeon RX 7900 XT/XTX (rev c8) ") == "Radeon-RX-7900-XTXTX-rev-c8"
    assert labels.label_value("x" * 80) == "x" * 63
    assert labels.label_value("(---)") == ""


def test_what_does_not_work_is_counted_but_not_offered() -> None:
    found = inventory({}, [device("a"), device("b", is_healthy=False)])

    assert labels.capacity(found) == {NVIDIA: "2"}
    assert labels.allocatable(found) == {NVIDIA: "1"}
    assert labels.allocatable(inventory(found, [])) == {NVIDIA: "0"}
