"""Whether the machine runs short of something, and how its Node tells. Pure.

    DiskPressure     less than 10 % of the data directory's disk is free, and less than 5 GiB;
                     or less than 5 % of its files can still be made, and fewer than 50,000
    MemoryPressure   less than 100 MiB of memory is available
    PIDPressure      less than 5 % of the process ids are free

Rules: the shares are the kubelet's; the amounts are for disks of a workstation, of which 10 % is
more than any model needs. While one presses, a taint keeps new pods away; nothing that runs is
ended for it. What has pressed goes on pressing for a while, so that nothing flaps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from motorpool.api.meta import Object
from motorpool.images.collection import Disk

KEPT_S = 10.0
DISK_SHARE_LEAST, DISK_BYTES_LEAST = 0.10, 5 << 30
FILES_SHARE_LEAST, FILES_LEAST = 0.05, 50_000
MEMORY_BYTES_LEAST = 100 << 20
PIDS_SHARE_LEAST = 0.05

# Type -> what the reasons and messages of the kubelet call it, and its taint.
_KINDS = {
    "MemoryPressure": ("Memory", "memory", "memory-pressure"),
    "DiskPressure": ("Disk", "disk", "disk-pressure"),
    "PIDPressure": ("PID", "PID", "pid-pressure"),
}
_TAINTS = {type_: f"node.kubernetes.io/{taint}" for type_, (*_, taint) in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured."""

    disk: Disk
    disk_path: str
    memory_available_bytes: int
    pids: int
    pids_most: int


@dataclass(frozen=True, slots=True)
class Pressures:
    """What presses: type -> how, in words; and when that was last so."""

    words: Mapping[str, str] = field(default_factory=dict)
    seen_at: Mapping[str, float] = field(default_factory=dict)


def pressures(before: Pressures, machine: Machine, now: float) -> Pressures:
    """What presses after a look at the machine."""
    found = _pressing(machine)
    lasting = {
        type_: words
        for type_, words in before.words.items()
        if type_ not in found and now - before.seen_at[type_] < KEPT_S
    }
    seen_at = {type_: before.seen_at[type_] for type_ in lasting} | dict.fromkeys(found, now)
    return Pressures({**lasting, **found}, seen_at)


def _pressing(machine: Machine) -> dict[str, str]:
    found = {}
    disk = machine.disk
    if disk.available_bytes < min(disk.total_bytes * DISK_SHARE_LEAST, DISK_BYTES_LEAST):
        found["DiskPressure"] = (
            f"{size(disk.available_bytes)} of {size(disk.total_bytes)} are free where "
            f"{machine.disk_path} is; make room there, or remove models with "
            "`motorpool modelcar rm`"
        )
    elif disk.files_free < min(disk.files * FILES_SHARE_LEAST, FILES_LEAST):
        found["DiskPressure"] = (
            f"only {disk.files_free} more files can be made where {machine.disk_path} is"
        )
    if machine.memory_available_bytes < MEMORY_BYTES_LEAST:
        found["MemoryPressure"] = (
            f"{size(machine.memory_available_bytes)} are available; stop something that needs much"
        )
    if machine.pids_most - machine.pids < machine.pids_most * PIDS_SHARE_LEAST:
        found["PIDPressure"] = f"{machine.pids} of {machine.pids_most} process ids are in use"
    return found


def conditions(pressing: Pressures, now: str) -> list[Object]:
    """The three conditions of the Node, in the kubelet's order and words."""
    return [_condition(type_, pressing.words.get(type_), now) for type_ in _KINDS]


def _condition(type_: str, words: str | None, now: str) -> Object:
    name, noun, _ = _KINDS[type_]
    status = "False" if words is None else "True"
    verb = "Sufficient" if name != "Disk" else "No"
    if words is not None:
        reason, message = f"KubeletHas{_presses(name)}", f"kubelet has {_lack(noun)}: {words}"
    elif name == "Disk":
        reason, message = "KubeletHasNoDiskPressure", "kubelet has no disk pressure"
    else:
        reason = f"KubeletHas{verb}{name}"
        message = f"kubelet has sufficient {noun} available"
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
    }


def _presses(name: str) -> str:
    return "DiskPressure" if name == "Disk" else f"Insufficient{name}"


def _lack(noun: str) -> str:
    return "disk pressure" if noun == "disk" else f"insufficient {noun} available"


def event_reason(type_: str, *, pressing: bool) -> str:
    """``NodeHasDiskPressure``, ``NodeHasSufficientMemory`` ..."""
    name = _KINDS[type_][0]
    if name == "Disk":
        return "NodeHasDiskPressure" if pressing else "NodeHasNoDiskPressure"
    return f"NodeHas{'Insufficient' if pressing else 'Sufficient'}{name}"


def tainted(taints: Iterable[Object], pressing: Pressures) -> list[Object]:
    """A Node's taints as they should be: ours as told, all others as they are."""
    others = [taint for taint in taints if taint.get("key") not in _TAINTS.values()]
    ours = [key for type_, key in _TAINTS.items() if type_ in pressing.words]
    return [*others, *({"key": key, "effect": "NoSchedule"} for key in ours)]


def size(amount_bytes: int) -> str:
    """``1.5 GiB``"""
    amount = float(amount_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"
