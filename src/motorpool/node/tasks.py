"""The tasks of one Pod, by name: starting one ends the one that has its name."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.cancel(name)
        task = asyncio.create_task(work, name=f"{self._owner} {name}")
        self._tasks[name] = task
        task.add_done_callback(self._done(name))

    def cancel(self, prefix: str = "") -> None:
        """Ends every task whose name begins so."""
        for name in [name for name in self._tasks if name.startswith(prefix)]:
            self._tasks.pop(name).cancel()

    def _done(self, name: str) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            if self._tasks.get(name) is task:
                del self._tasks[name]
            if not task.cancelled() and task.exception() is not None:
                log.error("defect", pod=self._owner, task=name, exc_info=task.exception())

        return done
