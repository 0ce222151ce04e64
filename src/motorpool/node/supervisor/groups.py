"""The control groups of containers: made, entered, read and removed.

    GROUP THAT WE ARE IN/motorpool-DIGEST/UID.CONTAINER.N      DIGEST: of the data directory

Rules: a group is made for a container that has something to be limited, before it starts, and its
processes enter it by themselves; all that is left in it when the container ends is killed. What
cannot be limited runs unlimited, and the answer says why. Of a group of version 2 that others have
given to us, and only of such a one, the processes are moved aside first (`cgroups.LEAF`).
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from motorpool.base.datadir import digest_of
from motorpool.node.supervisor.cgroups import (
    CONTROLLERS,
    LEAF,
    Controller,
    Limits,
    Place,
    oom_kills,
    places,
    settings,
)

PROCS = "cgroup.procs"
MOVES_MAX = 20
DELEGATED = ("trusted.delegate", "user.delegate")
OOM_FILES = ("memory.events", "memory.oom_control")


class Groups:
    def __init__(self, data_dir: Path, proc: Path = Path("/proc/self")) -> None:
        self.name = f"motorpool-{digest_of(data_dir)}"
        self._proc = proc
        self._parents: dict[Controller, tuple[Place, Path]] | None = None
        self._unable: dict[Controller, str] = {}
        self._dying: set[Path] = set()

    def make(self, id_: str, limits: Limits) -> tuple[list[str], str]:
        """The directories of a container's group, and what cannot be limited and why."""
        wanted = [controller for controller in CONTROLLERS if limits.concern(controller)]
        if not wanted:
            return [], ""
        if self._parents is None:
            self._parents = self._found()
        made: list[str] = []
        for controller in wanted:
            if controller not in self._parents:
                continue
            place, parent = self._parents[controller]
            directory = parent / id_.replace("/", ".")
            try:
                parent.mkdir(exist_ok=True)
                directory.mkdir(exist_ok=True)
                for setting in settings(place.version, controller, limits):
                    path = directory / setting.file
                    if not setting.is_optional or path.exists():
                        path.write_text(setting.content)
            except OSError as error:
                self._unable[controller] = f"{error.filename}: {error.strerror}"
                self._remove(directory)
            else:
                self._unable.pop(controller, None)
                made.append(str(directory))
        bounded = [controller for controller in wanted if limits.bound(controller)]
        missed = [f"{c}: {self._unable[c]}" for c in bounded if c in self._unable]
        return list(dict.fromkeys(made)), "; ".join(missed)

    def end(self, directories: Sequence[str]) -> bool:
        """Kills what is left in a container's groups, and removes them. True: memory ran out."""
        killed = False
        for directory in map(Path, directories):
            killed = killed or any(oom_kills(_read(directory / name)) for name in OOM_FILES)
            _kill_all(directory)
            self._dying.add(directory)
        self.tidy()
        return killed

    def tidy(self) -> bool:
        """Removes what has ended. True: something is left, because its processes still die."""
        for directory in list(self._dying):
            _kill_all(directory)
            if self._remove(directory):
                self._dying.discard(directory)
        return bool(self._dying)

    def sweep(self, used: Sequence[str]) -> None:
        """Removes the groups that a supervisor before this one left, and nothing runs in."""
        kept = set(map(Path, used))
        for place in set(self._places().values()):
            for directory in (Path(place.directory) / self.name).glob("*/"):
                if directory not in kept:
                    self._dying.add(directory)
        self.tidy()

    def close(self) -> None:
        """Removes what is ours altogether, once no container is left."""
        self.tidy()
        for place in set(self._places().values()):
            self._remove(Path(place.directory) / self.name)

    def _places(self) -> dict[Controller, Place]:
        return places(_read(self._proc / "cgroup"), _read(self._proc / "mountinfo"))

    def _found(self) -> dict[Controller, tuple[Place, Path]]:
        found = {}
        there = self._places()
        for controller in CONTROLLERS:
            place = there.get(controller)
            if place is None:
                self._unable[controller] = "no control group hierarchy is mounted for it"
                continue
            parent = Path(place.directory) / self.name
            try:
                if place.version == 2:
                    _give_controllers(place, parent, controller)
                else:
                    parent.mkdir(exist_ok=True)
            except OSError as error:
                self._unable[controller] = f"{error.filename}: {error.strerror}"
            except _Refused as refusal:
                self._unable[controller] = str(refusal)
            else:
                found[controller] = (place, parent)
        return found

    def _remove(self, directory: Path) -> bool:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class _Refused(Exception):
    """Why a group is not ours to change, and what makes it so."""


def join(directories: Sequence[str]) -> None:
    """The calling process enters the groups. Raises OSError."""
    for directory in directories:
        (Path(directory) / PROCS).write_text("0")


def put(pid: int, directories: Sequence[str]) -> None:
    """Another process enters them, a moment after it has begun: what bounds it need not be exact.

    One that is gone, or groups that are, are no matter.
    """
    for directory in directories:
        with contextlib.suppress(OSError):
            (Path(directory) / PROCS).write_text(str(pid))


def _give_controllers(place: Place, parent: Path, controller: Controller) -> None:
    """Has version 2 pass a controller on to the groups below *parent*."""
    group = Path(place.directory)
    if controller not in _read(group / "cgroup.controllers").split():
        raise _Refused(f"the group {group} is not given this controller")
    if controller not in _read(group / "cgroup.subtree_control").split():
        if (group / "cgroup.type").exists():  # The machine's own top group has none.
            _move_aside(place, group)
        (group / "cgroup.subtree_control").write_text(f"+{controller}")
    parent.mkdir(exist_ok=True)
    (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def _move_aside(place: Place, group: Path) -> None:
    if not (place.is_top or _is_delegated(group)):
        raise _Refused(
            f"the group {group} is not delegated to this user; start the platform in one that is: "
            "systemd-run --user --scope -p Delegate=yes motorpool up"
        )
    leaf = group / LEAF
    leaf.mkdir(exist_ok=True)
    # What forks meanwhile is met by the next turn.
    for _ in range(MOVES_MAX):
        pids = _read(group / PROCS).split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (leaf / PROCS).write_text(pid)
        if not pids:
            return


def _is_delegated(group: Path) -> bool:
    for name in DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return 0 < os.geteuid() == (group / PROCS).stat().st_uid


def _kill_all(directory: Path) -> None:
    for pid in _read(directory / PROCS).split():
        # A process of another pid namespace has the number 0 here, and 0 is everybody to kill(2).
        if int(pid) > 0 and int(pid) != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


def _read(path: Path) -> str:
    """ "" where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
