"""How many processors the control group of this process may use; Linux only."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def processors(root: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Whole ones, rounded up, by the tightest of all groups above; None where none is set."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    # Version 2 of control groups: the one line that begins with "0::".
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return None
    group = root / own
    groups = [group, *(each for each in group.parents if each.is_relative_to(root))]
    return tightest(_line(each / "cpu.max") for each in groups)


def tightest(limits: Iterable[str]) -> int | None:
    """Of lines as `200000 100000`: microseconds of computing in microseconds of time, or `max`."""
    found = []
    for limit in limits:
        time, _, period = limit.partition(" ")
        if time.isdecimal() and period.strip().isdecimal():
            found.append(max(1, ceil(int(time) / int(period))))
    return min(found, default=None)


def _line(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
