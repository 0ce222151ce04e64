"""The seam between a Pod's worker and what makes its containers run: processes, or podman.

    prepare    the Pod's address, and whatever holds it
    image      a container's image, pulled where it must be
    start      a run of the container; `Refused` where it waits, `NotExecutable` where it has failed
    signal, forget, release      a run, a run that is over, all that is left of the Pod
    execute, exec, attach, connect    beside a run and into it

Rules: a run is named by `seen.run_id`, and outlives the agent; to start one that runs gives what is
there. Every run that ends is told to whom the engine was made for, more than once perhaps. Logs are
files, ``pods/UID/logs/CONTAINER/N.log``, whoever writes them. OSError: the world does not answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from motorpool.api.meta import Object
from motorpool.api.streams import Pipe, Session, SessionOptions
from motorpool.node.pod import Container
from motorpool.node.seen import Run
from motorpool.node.volumes import Tell, Volume

Name: TypeAlias = Literal["process", "podman"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A container, and what its program depends on beside its own spec."""

    container: Container
    pod: Object
    volumes: Mapping[str, Volume]
    pod_ip: str
    host_ip: str
    pod_dir: Path
    grace_s: float


@dataclass(frozen=True, slots=True)
class Started:
    run: Run
    notice: str = ""
    """What is not as it should be, for the log."""
    pod_ip: str = ""
    """The Pod's address, where it may have another now."""
    choice: str = ""
    """Which of several programs it is, and why, for the Pod's events."""


class Refused(Exception):
    """A container that cannot be started now. *reason* is what it waits with."""

    def __init__(self, reason: str, message: str, *, image: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.image = image


class NotExecutable(Exception):
    """Its program cannot be executed: the run is over before it began."""


class Engine(Protocol):
    @property
    def name(self) -> Name: ...

    async def run(self) -> None:
        """Keeps it working until cancelled; what it has started goes on."""
        ...

    async def runs(self) -> list[Run]:
        """All that run, and all that ended and were not forgotten."""
        ...

    async def prepare(self, pod: Object, pod_dir: Path, recorded_ip: str) -> str:
        """The Pod's address; *recorded_ip* is what it was. May be called again."""
        ...

    async def image(self, container: Container, pod: Object, tell: Tell) -> str:
        """The ``imageID``. Raises Refused."""
        ...

    async def start(self, id_: str, scene: Scene) -> Started:
        """Raises Refused or NotExecutable."""
        ...

    async def signal(self, id_: str, number: int) -> None: ...

    async def forget(self, id_: str) -> None:
        """Drops what is kept of a run that has ended."""
        ...

    async def release(self, uid: str, pod_ip: str) -> None:
        """Drops what is left of a Pod of which nothing runs."""
        ...

    async def execute(
        self, id_: str, scene: Scene, command: Sequence[str]
    ) -> tuple[int, str]:  # fmt: skip
        """A command as a probe or a hook has it: exit code and output."""
        ...

    async def exec(self, id_: str, scene: Scene, options: SessionOptions) -> Session:
        """A command for a client. Raises ApiError."""
        ...

    async def attach(self, id_: str, options: SessionOptions, *, once: bool) -> Session:
        """The run's own streams. *once*: its stdin ends with this client's."""
        ...

    async def connect(self, uid: str, pod_ip: str, port: int) -> Pipe:
        """To a port of the Pod."""
        ...
