"""What the machine runs short of, and how the Node tells."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from motorpool.api.meta import Object
from motorpool.images.collection import Collected, Disk
from motorpool.node.housekeeping import COLLECT_PERIOD_S, Housekeeping, measured
from motorpool.node.pressure import KEPT_S, Machine, Pressures, conditions, pressures, tainted

GIB = 1 << 30
WELL = Machine(Disk(50 * GIB, 50 * GIB, 900, 1000), "/data", 8 * GIB, 300, 32768)


def with_disk(**fields: int) -> Machine:
    return replace(WELL, disk=replace(WELL.disk, **fields))


def pressing(machine: Machine) -> list[str]:
    return list(pressures(Pressures(), machine, 0).words)


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        (WELL, []),
        (with_disk(used_bytes=95 * GIB, available_bytes=int(4.9 * GIB)), ["DiskPressure"]),
        # A tenth of a small disk; of a large one, what a model may need.
        (with_disk(used_bytes=91 << 20, available_bytes=9 << 20), ["DiskPressure"]),
        (with_disk(used_bytes=90 << 20, available_bytes=10 << 20), []),
        (with_disk(used_bytes=990 * GIB, available_bytes=6 * GIB), []),
        (with_disk(files_free=49), ["DiskPressure"]),
        (with_disk(files=0, files_free=0), []),
        (replace(WELL, memory_available_bytes=99 << 20), ["MemoryPressure"]),
        (replace(WELL, pids=32000), ["PIDPressure"]),
    ],
)
def test_what_is_short_presses(machine: Machine, found: list[str]) -> None:
    assert pressing(machine) == found


def test_what_has_pressed_goes_on_for_a_while() -> None:
    short = replace(WELL, pids=32000)
    before = pressures(Pressures(), short, 100)

    assert "PIDPressure" in pressures(before, WELL, 100 + KEPT_S - 1).words
    assert pressures(before, WELL, 100 + KEPT_S).words == {}
    longer = pressures(before, short, 100 + KEPT_S)
    assert "PIDPressure" in pressures(longer, WELL, 101 + KEPT_S).words


def test_conditions_speak_as_the_kubelet_does() -> None:
    well = [(c["type"], c["status"], c["reason"]) for c in conditions(Pressures(), "now")]
    assert well == [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ]
    all_short = Pressures({"MemoryPressure": "a", "DiskPressure": "b", "PIDPressure": "c"})
    short = [(c["status"], c["reason"], c["message"]) for c in conditions(all_short, "now")]
    assert short == [
        ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available: a"),
        ("True", "KubeletHasDiskPressure", "kubelet has disk pressure: b"),
        ("True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available: c"),
    ]


def test_taints_come_and_go_and_those_of_users_stay() -> None:
    theirs: list[Object] = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
    disk = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}

    short = tainted(theirs, Pressures({"DiskPressure": ""}))

    assert short == [*theirs, disk]
    assert tainted(short, Pressures()) == theirs


def test_this_machine_can_be_measured(tmp_path) -> None:
    found = measured(tmp_path)
    assert found.disk.total_bytes > 0
    assert found.memory_available_bytes > 0
    assert 0 < found.pids < found.pids_most


class World:
    """A disk that fills up, images that can go, and what is told."""

    def __init__(self) -> None:
        self.used, self.removable, self.collections = 50, 0, 0
        self.seconds = 0.0
        self.told: list[str] = []
        self.changes = 0
        self.keeping = Housekeeping(
            self, self, self.clock, {"metadata": {"name": "n"}}, self.measure, self.change  # type: ignore[arg-type]
        )  # fmt: skip

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def measure(self) -> Machine:
        return replace(WELL, disk=Disk(self.used, 100 - self.used))

    def change(self) -> None:
        self.changes += 1

    def collect(self, wanted_bytes: int, now: float) -> Collected:
        self.collections += 1
        freed = min(wanted_bytes, self.removable)
        self.removable -= freed
        self.used -= freed
        return Collected(["m:1"] if freed else [], freed)

    def record(self, obj: Object, type_: str, reason: str, message: str, component: str) -> None:
        self.told.append(f"{type_} {reason} {message}")

    async def look(self, used: int, later_s: float = 5) -> list[str]:
        self.used, self.told = used, []
        self.seconds += later_s
        await self.keeping.look()
        return self.told


async def test_images_go_down_to_80_percent_and_it_is_told() -> None:
    world = World()
    world.removable = 20
    assert await world.look(85) == []
    assert await world.look(95) == [
        "Normal ImagesCollected Removed images that nothing used, 15 B: m:1"
    ]
    assert (world.used, world.changes) == (80, 0)


async def test_where_too_little_can_go_it_says_so_once_in_a_while_and_the_disk_presses() -> None:
    world = World()
    world.removable = 1
    _, failed, presses = await world.look(97)
    assert failed.startswith("Warning ImageGCFailed Failed to garbage collect required amount")
    assert "Attempted to free 17 bytes, but only found 1 bytes eligible to free" in failed
    assert presses.startswith("Warning NodeHasDiskPressure Node n status is now: NodeHasDiskPress")
    assert "4 B of 100 B are free where /data is; make room there" in presses
    assert world.changes == 1

    assert await world.look(97) == []
    assert world.collections == 1
    assert len(await world.look(97, COLLECT_PERIOD_S)) == 1
    assert await world.look(50, 5) == []
    assert await world.look(50, KEPT_S) == [
        "Normal NodeHasNoDiskPressure Node n status is now: NodeHasNoDiskPressure"
    ]
    assert world.changes == 2
