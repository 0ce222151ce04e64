"""Telling threads to stop, those included that wait for a socket."""

import threading
from collections.abc import Callable


class Cancellation(threading.Event):
    """An event that also calls: a thread in recv() sees no flag, its socket has to be shut."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Callable[[], None]] = []

    def on_set(self, call: Callable[[], None]) -> None:
        """*call* may come from any thread, at once where this is set already; once or twice."""
        self._calls.append(call)
        if self.is_set():
            call()

    def set(self) -> None:
        super().set()
        for call in list(self._calls):
            call()
