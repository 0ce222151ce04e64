"""What this process may use of the machine: cores and memory, as its control group allows."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CPU_LIMIT = "MOTORPOOL_CPU_LIMIT"
CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED_V1 = 1 << 60  # what version 1 says where nothing limits is a page below 2**63


@dataclass(frozen=True, slots=True)
class Machine:
    cores: float  # of processor time
    memory_bytes: int


def machine(environment: Mapping[str, str]) -> Machine:
    groups = list(_groups(Path("/proc/self/cgroup"), CGROUPS))
    return Machine(cores(environment, len(os.sched_getaffinity(0)), groups), memory(groups))


def threads(wanted: int | None, available: Machine) -> int:
    """A thread for less than half a core would only make the others wait for it."""
    return wanted or max(1, math.floor(available.cores + 0.5))


def cores(environment: Mapping[str, str], affinity: int, groups: list[Path]) -> float:
    """The least of what the kernel's affinity, quotas and $MOTORPOOL_CPU_LIMIT allow."""
    limits = [float(affinity), *(quota for group in groups if (quota := _quota(group)))]
    try:
        told = float(environment.get(CPU_LIMIT) or 0)
    except ValueError:
        told = 0.0
    return min([*limits, told] if told > 0 else limits)


def memory(groups: list[Path]) -> int:
    """The least of the machine's memory and the groups' limits."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine_bytes, *(limit for group in groups if (limit := _memory_limit(group)))])


def _groups(membership: Path, root: Path) -> Iterator[Path]:
    """The directories of this process's groups and of those around them, of both versions."""
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        names = [""] if not controllers else [name for name in controllers.split(",")]
        for name in names:
            if name in ("", "cpu", "memory"):
                base = root / name
                group = base / path.lstrip("/")
                yield group
                yield from (each for each in group.parents if each.is_relative_to(base))


def _quota(group: Path) -> float | None:
    fields = _text(group / "cpu.max").split() or [
        _text(group / "cpu.cfs_quota_us").strip(),
        _text(group / "cpu.cfs_period_us").strip(),
    ]
    quota, period = (_number(each) for each in fields[:2])
    return quota / period if quota and period else None


def _memory_limit(group: Path) -> int | None:
    text = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
    limit = _number(text.strip())
    return limit if limit and limit < UNLIMITED_V1 else None


def _number(text: str) -> int | None:
    """None for what limits nothing: "max", -1, nothing."""
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
