"""A pod process as the supervisor holds it: its record and its log."""

import selectors
from collections.abc import Callable

from motorpool.node.supervisor.logwriter import LogFile, LogStream
from motorpool.node.supervisor.records import Record


class Process:
    def __init__(self, record: Record, selector: selectors.BaseSelector) -> None:
        self.record = record
        self._selector = selector
        self._file = LogFile(record.log_path)
        self._streams = [
            LogStream(name, record.pipe_path(name), self._file) for name in ("stdout", "stderr")
        ]
        self.listen()

    def listen(self) -> None:
        for stream in self._streams:
            self._unregister(stream)
            reader = self._reader(stream)
            self._selector.register(stream.descriptor, selectors.EVENT_READ, reader)

    def _reader(self, stream: LogStream) -> Callable[[], None]:
        def read() -> None:
            if not stream.read():
                # Closed by its process, which goes on: a closed pipe is readable for ever.
                self._unregister(stream)

        return read

    def _unregister(self, stream: LogStream) -> None:
        if stream.descriptor in self._selector.get_map():
            self._selector.unregister(stream.descriptor)

    def close(self) -> None:
        for stream in self._streams:
            self._unregister(stream)
            stream.drain()
        self._file.close()
