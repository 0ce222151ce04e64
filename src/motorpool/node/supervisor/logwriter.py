"""From a pod process's pipes to its log file, in the CRI format.

``2026-01-31T12:00:00.123456789Z stdout F the line``: F ends a line, P is a piece of a long one.
A file of `LOG_BYTES_MAX` becomes ``.log.1`` and so on; `LOG_FILES_MAX` files are kept. A disk that
does not take the lines loses them; the pod never waits for it.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_FILES_MAX = 5
LINE_BYTES_MAX = 16 * 1024
READ_BYTES_MAX = 64 * 1024
DRAIN_READS_MAX = 64  # a process that escaped its session could write for ever


def open_pipe(path: Path) -> int:
    """Makes the named pipe where it is missing and opens it for reading."""
    if not path.exists():
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def timestamp(moment_ns: int) -> str:
    seconds, nanoseconds = divmod(moment_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


class LogFile:
    """Appends to a file and rotates it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._descriptor = -1
        self._size = 0

    def append(self, content: bytes) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            elif self._size + len(content) > LOG_BYTES_MAX:
                self._rotate()
            os.write(self._descriptor, content)
            self._size += len(content)
        except OSError as error:
            os.write(2, f"{self._path}: {error}\n".encode())

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(LOG_FILES_MAX - 1, 0, -1):
            older = Path(f"{self._path}.{number}")
            newer = Path(f"{self._path}.{number - 1}") if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        self._open()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LogStream:
    """One output of one process: a pipe, or a terminal, which it then owns."""

    def __init__(
        self, name: str, descriptor: int, file: LogFile, written: Callable[[str, bytes], None]
    ) -> None:
        self._name = name
        self._file = file
        self._written = written
        self._rest = b""
        self.descriptor = descriptor

    def read(self) -> bool:
        """Takes what is there. False: nothing was, or the other end is closed."""
        try:
            content = os.read(self.descriptor, READ_BYTES_MAX)
        except OSError:
            return False  # A terminal that nobody has open any more is an error.
        if content:
            self._write(content)
            self._written(self._name, content)
        return bool(content)

    def drain(self) -> None:
        """Takes all that was written, ends the last line, closes."""
        for _ in range(DRAIN_READS_MAX):
            if not self.read():
                break
        if self._rest:
            self._file.append(self._line(b"F", self._rest, time.time_ns()))
            self._rest = b""
        os.close(self.descriptor)

    def _write(self, content: bytes) -> None:
        lines = (self._rest + content).split(b"\n")
        self._rest = lines.pop()
        moment_ns = time.time_ns()
        entries = []
        for line in lines:
            while len(line) > LINE_BYTES_MAX:
                entries.append(self._line(b"P", line[:LINE_BYTES_MAX], moment_ns))
                line = line[LINE_BYTES_MAX:]
            entries.append(self._line(b"F", line, moment_ns))
        while len(self._rest) > LINE_BYTES_MAX:
            entries.append(self._line(b"P", self._rest[:LINE_BYTES_MAX], moment_ns))
            self._rest = self._rest[LINE_BYTES_MAX:]
        if entries:
            self._file.append(b"".join(entries))

    def _line(self, tag: bytes, content: bytes, moment_ns: int) -> bytes:
        return b"%s %s %s %s\n" % (
            timestamp(moment_ns).encode(), self._name.encode(), tag, content
        )  # fmt: skip
