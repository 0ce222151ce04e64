"""``kubectl logs``: the log files of containers, as `PodStreams` asks for them.

The supervisor writes the files (CRI lines, rotated); this reads them. Rules: nothing watches a
file unless somebody follows it, and then it is looked at five times a second; a follower ends when
its container does, after the last line; the errors are the kubelet's words.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from motorpool.api.conditions import condition_of
from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object, at, name_of, uid_of
from motorpool.api.streams import LogOptions
from motorpool.base.clock import Clock, now, parse_rfc3339
from motorpool.node.seen import status_of
from motorpool.node.status import CONTAINER_ID_SCHEME
from motorpool.node.supervisor.logwriter import LOG_FILES_MAX

POLL_S = 0.2
CHUNK_BYTES = 256 * 1024
WORDS_LINES_MAX = 80  # the kubelet's limits of a message that is taken from a log
WORDS_BYTES_MAX = 2048
WORDS_READ_BYTES = 16 * 1024  # as many lines, with what the file keeps beside them

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
    return Line(moment if moment.endswith(b"Z") else in_utc(moment), content, tag == b"F")


def in_utc(moment: bytes) -> bytes:
    """As conmon writes it, with the machine's offset: ``2026-01-31T12:00:00.123456789+01:00``."""
    text = moment.decode(errors="replace")
    if text.endswith("+00:00"):
        return text[:-6].encode() + b"Z"
    seconds, _, rest = text.partition(".")
    fraction, offset = rest[:-6], rest[-6:]
    try:
        utc = datetime.fromisoformat(seconds + offset).astimezone(UTC)
    except ValueError:
        return moment
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{fraction}Z".encode()


class NodeLogs:
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
        shown = _Shown(options.timestamps)
        file = await asyncio.to_thread(LogReader, path, options.tail_lines)
        try:
            while True:
                over = not (follows and self._is_running(*run))
                lines = await asyncio.to_thread(file.read) if file.has_more() else []
                if lines:
                    yield shown.text(line for line in lines if line.moment >= since)
                elif not file.has_more():
                    if over:
                        return
                    await asyncio.sleep(POLL_S)
        finally:
            file.close()


class LogReader:
    """Reads a log from its beginning, or from so many lines before its end, across rotations.

    It holds one file open; a file that is rotated away is read to its end before the next one.
    """

    def __init__(self, path: Path, tail_lines: int | None = None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        files = self._files()
        if tail_lines is None:
            self._open(files[-1] if files else path)
            return
        self._open(path)
        for file in files:
            self._open(file)
            offset, found = tail_offset(file, tail_lines)
            tail_lines -= found
            if tail_lines <= 0 or file == files[-1]:
                self._seek(offset)
                break

    def has_more(self) -> bool:
        if self._file is None:
            return self._path.exists()
        stat = os.fstat(self._file.fileno())
        if stat.st_size > self._file.tell():
            return True
        return _inode(self._path) not in (stat.st_ino, 0)

    def read(self) -> list[Line]:
        """The next lines, a bounded number of them."""
        if self._file is None:
            self._open(self._path)
        if self._file is None:
            return []
        content = self._file.read(CHUNK_BYTES)
        if not content:
            self._open_next(os.fstat(self._file.fileno()).st_ino)
            return []
        *lines, self._rest = (self._rest + content).split(b"\n")
        return _parsed(lines)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> None:
        self.close()
        self._rest = b""
        with contextlib.suppress(FileNotFoundError):
            self._file = path.open("rb")

    def _seek(self, offset: int) -> None:
        if self._file is not None:
            self._file.seek(offset)

    def _open_next(self, inode: int) -> None:
        """The file that was written after the one with *inode*."""
        files = self._files()
        inodes = [_inode(file) for file in files]
        if inode in inodes[1:]:
            self._open(files[inodes.index(inode) - 1])
        elif inode not in inodes and files:
            self._open(files[-1])  # Ours was dropped meanwhile: the oldest there is.

    def _files(self) -> list[Path]:
        """The newest first."""
        older = [Path(f"{self._path}.{number}") for number in range(1, LOG_FILES_MAX)]
        return [path for path in (self._path, *older) if path.exists()]


def tail_offset(path: Path, count: int) -> tuple[int, int]:
    """Where the last *count* lines of a file begin, and how many of them it has."""
    if count <= 0:
        return path.stat().st_size, 0
    with path.open("rb") as file:
        recent: deque[int] = deque([0], maxlen=count + 1)
        position = 0
        for text in file:
            position += len(text)
            line = line_of(text)
            if line is None or line.ends:
                recent.append(position)
    found = len(recent) - 1
    return recent[0], found


def last_words(path: Path) -> str:
    """The end of a log file as a termination message: 80 lines and 2 KiB at most."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - WORDS_READ_BYTES))
            lines = _parsed(file.read().splitlines()[-WORDS_LINES_MAX:])
    except FileNotFoundError:
        return ""
    text = _Shown(timestamps=False).text(lines)
    return text[-WORDS_BYTES_MAX:].decode(errors="replace")


class _Shown:
    """Lines as a client sees them."""

    def __init__(self, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._begins = True

    def text(self, lines: Iterable[Line]) -> bytes:
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
    scheduled = condition_of(pod, "PodScheduled") or {}
    if not at(pod, "spec", "nodeName") and scheduled.get("status") == "False":
        why = f"no node takes its pod: {scheduled.get('message')}"
        raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why}')
    reason = str(at(state, "waiting", "reason", default="ContainerCreating"))
    words = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {words}')


def _number(container_id: str) -> int:
    return int(container_id.removeprefix(CONTAINER_ID_SCHEME).rsplit("/", 1)[-1] or 0)
