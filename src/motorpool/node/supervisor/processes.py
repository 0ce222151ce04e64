"""A pod process as the supervisor holds it: its record, its log, its input, who watches it."""

import fcntl
import os
import selectors
import struct
import termios
from collections import deque
from collections.abc import Callable

from motorpool.node.supervisor.logwriter import LogFile, LogStream, open_pipe
from motorpool.node.supervisor.records import Record

Taken = Callable[[], None]


class Process:
    def __init__(
        self,
        record: Record,
        selector: selectors.BaseSelector,
        *,
        stdin: bool = False,
        tty: bool = False,
    ) -> None:
        self.record = record
        self.watchers: list[Callable[[str, bytes], None]] = []
        self.terminal = -1  # the process's end, until it is started
        self.input: Input | None = None
        self._selector = selector
        self._file = LogFile(record.log_path)
        self._ours = -1  # our end of the terminal
        if tty:
            self._ours, self.terminal = os.openpty()
            os.set_blocking(self._ours, False)
            outputs = {"stdout": self._ours}
        else:
            names = ("stdout", "stderr")
            outputs = {name: open_pipe(record.pipe_path(name)) for name in names}
        if stdin:
            self.input = Input(self._input_descriptor(), selector)
        self._streams = [
            LogStream(name, descriptor, self._file, self._written)
            for name, descriptor in outputs.items()
        ]
        self.listen()

    def listen(self) -> None:
        for stream in self._streams:
            self._unregister(stream)
            reader = self._reader(stream)
            self._selector.register(stream.descriptor, selectors.EVENT_READ, reader)

    def started(self) -> None:
        """The process has its end of the terminal now, and nobody else is to."""
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1

    def resize(self, columns: int, rows: int) -> None:
        if self._ours >= 0:
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        self.started()
        for stream in self._streams:
            self._unregister(stream)
            stream.drain()
        self._file.close()
        if self.input is not None:
            self.input.close()

    def _input_descriptor(self) -> int:
        """Ours alone: a terminal is registered for reading too."""
        if self._ours >= 0:
            return os.dup(self._ours)
        path = self.record.pipe_path("stdin")
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        # For reading too, so that it can be opened before the process is there.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _written(self, stream: str, content: bytes) -> None:
        for watcher in list(self.watchers):
            watcher(stream, content)

    def _reader(self, stream: LogStream) -> Callable[[], None]:
        def read() -> None:
            if not stream.read():
                # Closed by its process, which goes on: a closed pipe is readable for ever.
                self._unregister(stream)

        return read

    def _unregister(self, stream: LogStream) -> None:
        if stream.descriptor in self._selector.get_map():
            self._selector.unregister(stream.descriptor)


class Input:
    """What is to be written to a process, as fast as it reads."""

    def __init__(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        self._descriptor = descriptor
        self._selector = selector
        self._waiting: deque[tuple[bytes, Taken]] = deque()
        self._ends = False

    def put(self, content: bytes, taken: Taken) -> None:
        """Raises ValueError where the input has ended."""
        if self._descriptor < 0 or self._ends:
            raise ValueError("the input has ended")
        self._waiting.append((content, taken))
        self._turn()

    def end(self) -> None:
        self._ends = True
        self._turn()

    def close(self) -> None:
        if self._descriptor < 0:
            return
        if self._descriptor in self._selector.get_map():
            self._selector.unregister(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        for _, taken in self._waiting:
            taken()  # There is nobody left to take it.
        self._waiting.clear()

    def _turn(self) -> None:
        while self._waiting and self._descriptor >= 0:
            content, taken = self._waiting[0]
            try:
                written = os.write(self._descriptor, content) if content else 0
            except BlockingIOError:
                if self._descriptor not in self._selector.get_map():
                    self._selector.register(self._descriptor, selectors.EVENT_WRITE, self._turn)
                return
            except OSError:
                self.close()
                return
            if written < len(content):
                self._waiting[0] = (content[written:], taken)
                continue
            self._waiting.popleft()
            taken()
        if self._descriptor >= 0 and self._descriptor in self._selector.get_map():
            self._selector.unregister(self._descriptor)
        if self._ends:
            self.close()
