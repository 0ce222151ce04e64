"""A container's process on this machine, told apart from one that has its pid by now.

Pids are used again, soon on a machine that has few of them; the control group that podman made for
a container bears the container's id, and nobody else is in there.
"""

from dataclasses import dataclass
from pathlib import Path

from motorpool.api.meta import Object, at
from motorpool.base.processes import identity_of


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    container: str
    cgroup: str = ""
    """"" where it has none of its own."""

    def is_alive(self) -> bool:
        if identity_of(self.pid) is None:
            return False
        try:
            text = Path(f"/proc/{self.pid}/cgroup").read_text()
        except OSError:
            return False
        return not self.cgroup or self.container in text


def process_of(inspected: Object) -> Process:
    """Of a container that podman takes to run."""
    state = inspected["State"]
    return Process(
        pid=int(state.get("Pid") or 0),
        container=str(inspected["Id"]),
        cgroup=str(at(inspected, "State", "CgroupPath", default="")),
    )
