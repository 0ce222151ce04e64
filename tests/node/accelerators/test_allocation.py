"""Which container gets which device, and how it sees no other."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from motorpool.api.meta import Object
from motorpool.node.accelerators import devices as devices_module
from motorpool.node.accelerators.allocation import Unavailable, allocate
from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, Device, inventory
from motorpool.node.accelerators.devices import Devices
from motorpool.node.accelerators.visibility import Assigned
from tests.node.accelerators.conftest import device

GPUS = inventory({}, [device(f"gpu-{number}", index=number) for number in range(4)])


def asking(name: str, count: int, resource: str = NVIDIA, **fields: str) -> Object:
    return {"name": name, "resources": {"limits": {resource: str(count)}}, **fields}


def spec(*containers: Object, init: tuple[Object, ...] = ()) -> Object:
    return {"containers": list(containers), "initContainers": list(init)}


def test_containers_get_devices_of_their_own_the_lowest_first() -> None:
    given = allocate(spec(asking("a", 1), {"name": "b"}, asking("c", 2)), GPUS, frozenset())

    assert given == {"a": ["gpu-0"], "c": ["gpu-1", "gpu-2"]}


def test_what_others_have_and_what_does_not_work_is_not_given() -> None:
    found = inventory(GPUS, [GPUS["gpu-1"], GPUS["gpu-2"], GPUS["gpu-3"]])

    assert allocate(spec(asking("a", 2)), found, frozenset({"gpu-2"})) == {"a": ["gpu-1", "gpu-3"]}


def test_what_an_init_container_had_is_used_again_and_a_sidecar_keeps_its_own() -> None:
    init = (asking("load", 2), asking("side", 1, restartPolicy="Always"), asking("warm", 3))

    given = allocate(spec(asking("main", 3), init=init), GPUS, frozenset())

    assert given == {
        "load": ["gpu-0", "gpu-1"],
        "side": ["gpu-0"],
        "warm": ["gpu-1", "gpu-2", "gpu-3"],
        "main": ["gpu-1", "gpu-2", "gpu-3"],
    }


def test_too_few_are_refused_in_the_words_of_the_kubelet() -> None:
    with pytest.raises(Unavailable) as refused:
        allocate(spec(asking("a", 1), asking("b", 4)), GPUS, frozenset({"gpu-0"}))

    assert str(refused.value) == (
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 4, Available: 2, which is unexpected"
    )


def test_kinds_are_counted_apart() -> None:
    found = inventory(GPUS, [*GPUS.values(), device("hpu", GAUDI)])
    both = {"name": "a", "resources": {"limits": {NVIDIA: 1, GAUDI: "1"}}}

    assert allocate(spec(both), found, frozenset()) == {"a": ["gpu-0", "hpu"]}


def test_an_nvidia_gpu_is_seen_by_number_and_by_uuid() -> None:
    has = Assigned((device("GPU-b", index=2), device("GPU-a", index=1)), frozenset({NVIDIA}))

    assert has.environment == {
        "NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b",
        "CUDA_VISIBLE_DEVICES": "1,2",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert has.cdi == ("nvidia.com/gpu=2", "nvidia.com/gpu=1")


def test_hip_counts_what_rocr_has_left_over() -> None:
    nodes = [("/dev/kfd", f"/dev/dri/renderD{minor}") for minor in (128, 129)]
    two = [device(f"GPU-{n}", AMD, n + 2, nodes=nodes[n]) for n in (0, 1)]

    assert Assigned(tuple(two)).environment == {
        "ROCR_VISIBLE_DEVICES": "2,3",
        "HIP_VISIBLE_DEVICES": "0,1",
    }
    assert Assigned(tuple(two)).nodes == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129")


def test_gaudi_is_seen_by_module() -> None:
    has = Assigned((device("0000:19:00.0", GAUDI, 3, module=6),))

    assert has.environment == {
        "HABANA_VISIBLE_DEVICES": "3",
        "HABANA_VISIBLE_MODULES": "6",
        "HL_VISIBLE_DEVICES": "/dev/accel/accel3",
    }


def test_who_asks_for_none_sees_none_of_what_is_there() -> None:
    present = frozenset({NVIDIA, GAUDI})

    found = Assigned(present=present).environment

    assert found["NVIDIA_VISIBLE_DEVICES"] == found["HABANA_VISIBLE_DEVICES"] == "void"
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert "ROCR_VISIBLE_DEVICES" not in found
    assert Assigned().environment == {}


class Machine:
    """Devices, and pods with directories."""

    def __init__(self, pods_dir: Path) -> None:
        self.pods_dir = pods_dir
        self.over: set[str] = set()
        self.devices = self.restarted()

    def restarted(self) -> Devices:
        found = [GPUS["gpu-0"], GPUS["gpu-1"]]
        self.devices = Devices(self.pods_dir, self.over.__contains__, lambda: found)
        return self.devices

    async def ask(self, uid: str, count: int = 1) -> list[str]:
        (self.pods_dir / uid).mkdir(exist_ok=True)
        pod: dict[str, Any] = {"metadata": {"uid": uid}, "spec": spec(asking("main", count))}
        running = asyncio.create_task(self.devices.run(lambda *_: None))
        try:
            return [found.id for found in (await self.devices.assigned(pod, "main")).devices]
        finally:
            running.cancel()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_pod_keeps_what_it_has_over_restarts_and_no_other_gets_it(machine: Machine) -> None:
    assert await machine.ask("a") == ["gpu-0"]
    machine.restarted()
    assert await machine.ask("b") == ["gpu-1"]
    machine.restarted()
    assert await machine.ask("a") == ["gpu-0"]
    with pytest.raises(Unavailable):
        await machine.ask("c")
    assert machine.devices.holders("gpu-1") == ["b"]


async def test_what_a_pod_that_is_over_had_is_given_again(machine: Machine) -> None:
    await machine.ask("a", 2)
    machine.over.add("a")
    assert await machine.ask("b", 2) == ["gpu-0", "gpu-1"]


async def test_two_who_ask_at_once_do_not_get_the_same(machine: Machine) -> None:
    first, second = await asyncio.gather(machine.ask("a"), machine.ask("b"))
    assert sorted(first + second) == ["gpu-0", "gpu-1"]


async def test_a_driver_that_hangs_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices_module, "FIRST_LOOK_S", 0.05)
    answers = threading.Event()

    def find() -> list[Device]:
        answers.wait(20)
        return [GPUS["gpu-0"]]

    devices = Devices(tmp_path, lambda _: False, find, period_s=0.01)
    told: list[object] = []
    running = asyncio.create_task(devices.run(lambda *change: told.append(change)))
    pod: dict[str, Any] = {"metadata": {"uid": "a"}, "spec": spec({"name": "main"})}
    try:
        assert (await devices.assigned(pod, "main")).environment == {}
        answers.set()
        async with asyncio.timeout(30):
            while not told:
                await asyncio.sleep(0.01)
        assert (await devices.assigned(pod, "main")).environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    finally:
        running.cancel()


async def test_what_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    looks = iter([[GPUS["gpu-0"]], OSError("no"), ValueError("neither")])

    def find() -> list[Device]:
        found = next(looks, [GPUS["gpu-0"]])
        if isinstance(found, Exception):
            raise found
        return found

    devices = Devices(tmp_path, lambda _: False, find, period_s=0.01)
    running = asyncio.create_task(devices.run(lambda *_: pytest.fail("nothing has changed")))
    await devices.looked()
    await asyncio.sleep(0.2)
    assert devices.found == {"gpu-0": GPUS["gpu-0"]}
    assert not running.done()
    running.cancel()
