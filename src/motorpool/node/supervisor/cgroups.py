"""Where this process may make control groups, and what is written into one. Pure.

    /proc/self/cgroup + /proc/self/mountinfo -> controller -> the group that we are in
    limits of a container                    -> files of its group and their content

Rules: groups are made below the one that we are in ourselves, so that pods stay within whatever
bounds the platform. A controller is looked for in hierarchies of version 1 first: where both are
mounted, a controller that version 1 has is not there for version 2. Nothing heavy is imported:
the supervisor is small.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Controller: TypeAlias = Literal["cpu", "memory"]
CONTROLLERS: tuple[Controller, ...] = ("cpu", "memory")
CPU_PERIOD_US = 100_000
CPU_QUOTA_LEAST_US = 1_000
SHARES_LEAST, SHARES_MOST = 2, 262_144
LEAF = "motorpool-main"
"""Version 2 has processes in leaves only: who was in our group goes here."""

_OCTAL = re.compile(r"\\([0-7]{3})")


class Place(NamedTuple):
    """The group that this process is in, for one controller."""

    version: Literal[1, 2]
    directory: str
    is_top: bool
    """It is all that this process sees of its hierarchy: the machine's or a container's own."""


class Limits(NamedTuple):
    """What a container may use; 0 is no limit, and no say in how much of the CPU it gets."""

    cpu_milli: int = 0
    cpu_request_milli: int = 0
    memory_bytes: int = 0

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Limits":
        return cls(**{name: int(request.get(name, 0)) for name in cls._fields})

    def concern(self, controller: Controller) -> bool:
        """Whether they say anything about it."""
        return self.bound(controller) or (controller == "cpu" and self.cpu_request_milli > 0)

    def bound(self, controller: Controller) -> bool:
        return (self.memory_bytes if controller == "memory" else self.cpu_milli) > 0


NO_LIMITS = Limits()


class Setting(NamedTuple):
    file: str
    content: str
    is_optional: bool = False
    """The kernel may not have it."""


def places(cgroup: str, mountinfo: str) -> dict[Controller, Place]:
    """The place of each controller, from the content of those two files."""
    mounts = list(_mounts(mountinfo))
    found: dict[Controller, Place] = {}
    unified: Place | None = None
    for line in cgroup.splitlines():
        number, names, path = line.split(":", 2)
        if number == "0" and not names:
            unified = _place(2, path, [m for m in mounts if m.type == "cgroup2"])
            continue
        for controller in CONTROLLERS:
            if controller in names.split(","):
                fitting = [m for m in mounts if m.type == "cgroup" and controller in m.options]
                place = _place(1, path, fitting)
                if place is not None:
                    found[controller] = place
    if unified is not None:
        for controller in CONTROLLERS:
            found.setdefault(controller, unified)
    return found


class _Mount(NamedTuple):
    root: str  # which group of the hierarchy is mounted
    point: str
    type: str
    options: Sequence[str]


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if separator and described[0].startswith("cgroup"):
            root, point = (_plain(field) for field in fields[3:5])
            yield _Mount(root, point, described[0], described[-1].split(","))


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _place(version: Literal[1, 2], path: str, mounts: Sequence[_Mount]) -> Place | None:
    """Where the group is in the file system; None where what is mounted does not hold it."""
    if path.startswith("/.."):
        return None
    for mount in mounts:
        root = mount.root.rstrip("/")
        if path != mount.root and not path.startswith(f"{root}/"):
            continue
        below = path.removeprefix(root).strip("/").removesuffix(LEAF).strip("/")
        directory = f"{mount.point.rstrip('/')}/{below}".rstrip("/")
        return Place(version, directory, is_top=not below)
    return None


def settings(
    version: Literal[1, 2], controller: Controller, limits: Limits
) -> list[Setting]:  # fmt: skip
    """What is written into a new group, in this order."""
    if controller == "memory":
        amount = str(limits.memory_bytes)
        if version == 1:
            return [
                Setting("memory.limit_in_bytes", amount),
                Setting("memory.memsw.limit_in_bytes", amount, is_optional=True),
            ]
        return [
            Setting("memory.max", amount),
            Setting("memory.swap.max", "0", is_optional=True),
            # All of a container ends together: half a server serves nobody.
            Setting("memory.oom.group", "1", is_optional=True),
        ]
    return list(_cpu_settings(version, limits))


def _cpu_settings(version: Literal[1, 2], limits: Limits) -> Iterator[Setting]:
    quota_us = max(CPU_QUOTA_LEAST_US, limits.cpu_milli * CPU_PERIOD_US // 1000)
    request = limits.cpu_request_milli or limits.cpu_milli
    shares = min(SHARES_MOST, max(SHARES_LEAST, request * 1024 // 1000))
    if version == 1:
        yield Setting("cpu.shares", str(shares), is_optional=True)
        if limits.cpu_milli:
            yield Setting("cpu.cfs_period_us", str(CPU_PERIOD_US))
            yield Setting("cpu.cfs_quota_us", str(quota_us))
        return
    # The range of shares laid over that of weights, as the kubelet does it.
    weight = 1 + (shares - SHARES_LEAST) * 9999 // (SHARES_MOST - SHARES_LEAST)
    yield Setting("cpu.weight", str(weight), is_optional=True)
    if limits.cpu_milli:
        yield Setting("cpu.max", f"{quota_us} {CPU_PERIOD_US}")


def oom_kills(events: str) -> int:
    """How often the kernel has killed in a group: of memory.events or memory.oom_control."""
    for line in events.splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0
