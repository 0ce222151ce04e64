"""What a client may ask of a running container. Pure values; the node answers them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from motorpool.api.meta import Object

Output: TypeAlias = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of ``pods/log``. None means "no limit"."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    since_time: str = ""  # RFC 3339
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The query of ``pods/exec`` and ``pods/attach``; what attaches has no command."""

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Size(NamedTuple):
    """Of a terminal, in characters."""

    columns: int
    rows: int


class Remote(Protocol):
    """The client's end of a session, whatever protocol it speaks.

    Every method waits, and raises ConnectionError once the client has left.
    """

    async def read(self) -> bytes:
        """What it has sent to stdin; b"" once it has ended that."""
        ...

    async def write(self, output: Output, content: bytes) -> None: ...

    async def size(self) -> Size:
        """The next size of its terminal."""
        ...


Session: TypeAlias = Callable[[Remote], Awaitable[int]]
"""Runs until its program ends and gives the exit code; cancelled when the client leaves.

Raises ApiError where the program cannot be started.
"""


class Pipe(Protocol):
    """A connection to a port of a Pod. Raises OSError where it breaks."""

    async def read(self) -> bytes:
        """b"" once the Pod has ended its side."""
        ...

    async def write(self, content: bytes) -> None: ...

    def end(self) -> None:
        """Nothing more will be written."""
        ...

    def close(self) -> None: ...


class PodStreams(Protocol):
    """The node, as far as the API server calls it."""

    def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Chunks of whole lines. Raises NotFound or BadRequest before the first chunk."""
        ...

    async def exec(self, pod: Object, container: str, options: SessionOptions) -> Session:
        """A command beside the container's own. Raises ApiError where there can be none."""
        ...

    async def attach(self, pod: Object, container: str, options: SessionOptions) -> Session:
        """The container's own program. Raises ApiError where there can be none."""
        ...

    async def connect(self, pod: Object, port: int) -> Pipe:
        """Raises OSError, with words for the user, where nothing answers."""
        ...
