"""``kubectl logs``: the log files of containers, as the API server's `PodStreams`.

The supervisor writes the files (CRI lines, rotated); this reads them. Rules: nothing watches a
file unless somebody follows it, and then it is looked at five times a second; a follower ends when
its container does, after the last line; the errors are the kubelet's words.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object, at, name_of, uid_of
from motorpool.api.streams import LogOptions
from motorpool.base.clock import Clock, now, parse_rfc3339
from motorpool.node.seen import status_of
from motorpool.node.status import CONTAINER_ID_SCHEME
from motorpool.node.supervisor.logwriter import LOG_FILES_MAX

POLL_S = 0.2
CHUNK_BYTES = 64 * 1024

IsRunning = Callable[[str, str, int], bool]
"""Pod uid, container, run."""


@dataclass(frozen=True, slots=True)
class Line:
    moment: bytes  # RFC 3339, nanoseconds
    content: bytes
    ends: bool  # False for a piece of a long line


def line_of(text: bytes) -> Line | None:
    """A line of the file; None for one that is torn."""
    parts = text.split(b" ", 3)
    if len(parts) != 4:
        return None
    moment, _, tag, content = parts
    return Line(moment, content, tag == b"F")


class NodeStreams:
    def __init__(self, data_dir: Path, is_running: IsRunning, clock: Clock = now) -> None:
        self._pods_dir = data_dir / "pods"
        self._is_running = is_running
        self._clock = clock

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        name = _container_name(pod, container)
        run = _run(pod, name, previous=options.previous)
        path = self._pods_dir / uid_of(pod) / "logs" / name / f"{run}.log"
        since = _since(options, self._clock())
        follows = options.follow and not options.previous
        left = options.limit_bytes
        async for chunk in self._chunks(path, options, since, (uid_of(pod), name, run), follows):
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            if chunk:
                yield chunk
            if left == 0:
                return

    async def _chunks(
        self, path: Path, options: LogOptions, since: bytes,
        run: tuple[str, str, int], follows: bool,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        file = LogReader(path)
        try:
            lines = await asyncio.to_thread(file.first, options.tail_lines, since)
            shown = _Shown(options.timestamps)
            yield shown.text(lines)
            while follows:
                over = not self._is_running(*run)
                more = await asyncio.to_thread(file.more) if file.has_more() else []
                if more:
                    yield shown.text(more)
                elif over:
                    return
                else:
                    await asyncio.sleep(POLL_S)
        finally:
            file.close()


class LogReader:
    """Reads a log and what is appended, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def first(self, tail_lines: int | None, since: bytes) -> list[Line]:
        """The lines so far that are wanted. Reads no file that cannot hold one of them."""
        found: list[Line] = []
        for path in self._files():
            lines = [line for line in self._lines(path) if line.moment >= since]
            found = [*lines, *found]
            if tail_lines is not None and sum(line.ends for line in found) > tail_lines:
                break
        return found if tail_lines is None else _tail(found, tail_lines)

    def has_more(self) -> bool:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False
        return stat.st_ino != self._inode or stat.st_size > self._offset

    def more(self) -> list[Line]:
        """What was written since, the end of a file that was rotated away included."""
        lines = []
        for number in range(LOG_FILES_MAX - 1, 0, -1):
            older = Path(f"{self._path}.{number}")
            if self._inode and _inode(older) == self._inode:
                lines += self._read(older)
                self._offset, self._rest = 0, b""
                for newer in range(number - 1, 0, -1):
                    lines += [*self._lines(Path(f"{self._path}.{newer}"))]
                self._inode = 0
        if _inode(self._path) != self._inode:
            self._offset, self._rest = 0, b""
        return [*lines, *self._read(self._path)]

    def close(self) -> None:
        self._rest = b""

    def _files(self) -> Iterator[Path]:
        """The newest first."""
        yield self._path
        for number in range(1, LOG_FILES_MAX):
            path = Path(f"{self._path}.{number}")
            if not path.exists():
                return
            yield path

    def _lines(self, path: Path) -> list[Line]:
        if path == self._path:
            return self._read(path)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        return _parsed(content.split(b"\n"))

    def _read(self, path: Path) -> list[Line]:
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                content = self._rest + file.read()
                self._offset = file.tell()
                if path == self._path:
                    self._inode = _inode(path)
        except FileNotFoundError:
            return []
        *lines, self._rest = content.split(b"\n")
        return _parsed(lines)


class _Shown:
    """Lines as a client sees them."""

    def __init__(self, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._begins = True

    def text(self, lines: list[Line]) -> bytes:
        parts = []
        for line in lines:
            if self._timestamps and self._begins:
                parts += [line.moment, b" "]
            parts.append(line.content)
            if line.ends:
                parts.append(b"\n")
            self._begins = line.ends
        return b"".join(parts)


def _parsed(texts: list[bytes]) -> list[Line]:
    return [line for text in texts if text and (line := line_of(text)) is not None]


def _tail(lines: list[Line], count: int) -> list[Line]:
    ends = [number for number, line in enumerate(lines) if line.ends]
    if count <= 0:
        return []
    if len(ends) <= count:
        return lines
    return lines[ends[-count - 1] + 1 :]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _since(options: LogOptions, moment: datetime) -> bytes:
    """The earliest time wanted, comparable with those of lines."""
    if options.since_s is not None:
        moment -= timedelta(seconds=options.since_s)
    elif options.since_time:
        try:
            moment = parse_rfc3339(options.since_time)
        except ValueError as error:
            raise BadRequest(f"invalid sinceTime: {error}") from None
    else:
        return b""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def _container_name(pod: Object, container: str) -> str:
    spec = pod["spec"]
    names = [c["name"] for c in spec.get("containers") or ()]
    every = [c["name"] for c in spec.get("initContainers") or ()] + names
    if container:
        if container not in every:
            raise BadRequest(f"container {container} is not valid for pod {name_of(pod)}")
        return container
    if len(names) == 1:
        return str(names[0])
    listed = " ".join(names)
    message = f"a container name must be specified for pod {name_of(pod)}, choose one of: "
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    more = f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
    raise BadRequest(f"{message}[{listed}]{more}")


def _run(pod: Object, container: str, *, previous: bool) -> int:
    """Which run's log is meant."""
    name = name_of(pod)
    status = status_of(pod, container)
    last_id = str(at(status, "lastState", "terminated", "containerID", default=""))
    state = status.get("state") or {}
    if previous:
        if not last_id:
            raise BadRequest(
                f'previous terminated container "{container}" in pod "{name}" not found'
            )
        return _number(last_id)
    if "running" in state:
        return _number(str(status.get("containerID", "")))
    if "terminated" in state:
        return _number(str(state["terminated"].get("containerID", "")))
    if last_id:
        return _number(last_id)
    reason = str(at(state, "waiting", "reason", default="ContainerCreating"))
    words = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {words}')


def _number(container_id: str) -> int:
    return int(container_id.removeprefix(CONTAINER_ID_SCHEME).rsplit("/", 1)[-1] or 0)
