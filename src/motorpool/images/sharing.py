"""Work in threads that several wait for, from one event loop; the last who leaves ends it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from motorpool.images.cancellation import Cancellation
from motorpool.images.progress import Progress, ProgressTo

T = TypeVar("T")
Work: TypeAlias = Callable[[ProgressTo, Cancellation], T]


@dataclass(slots=True)
class _Shared(Generic[T]):
    task: "asyncio.Task[T]"
    cancelled: Cancellation
    listeners: list[ProgressTo] = field(default_factory=list)
    waiting: int = 0


class Sharing(Generic[T]):
    def __init__(self, threads: int) -> None:
        self._running: dict[str, _Shared[T]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="images")

    async def run(self, key: str, work: Work[T], progress: ProgressTo | None) -> T:
        """The result of *work*, or of what another has begun under *key*."""
        shared = self._running.get(key)
        if shared is None:
            shared = self._start(key, work)
        if progress is not None:
            shared.listeners.append(progress)
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                shared.cancelled.set()
                # Who comes now starts anew, and waits for the locks of what is ending.
                self._running.pop(key, None)

    def close(self) -> None:
        """Stops all that runs; for the end of the process."""
        for shared in list(self._running.values()):
            shared.cancelled.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: str, work: Work[T]) -> _Shared[T]:
        loop = asyncio.get_running_loop()
        cancelled = Cancellation()
        listeners: list[ProgressTo] = []

        def tell(progress: Progress) -> None:
            for listener in listeners:
                listener(progress)

        def tell_loop(progress: Progress) -> None:
            loop.call_soon_threadsafe(tell, progress)

        async def wait() -> T:
            return await loop.run_in_executor(self._threads, lambda: work(tell_loop, cancelled))

        shared = _Shared(loop.create_task(wait()), cancelled, listeners)
        self._running[key] = shared

        def forget(task: "asyncio.Task[T]") -> None:
            if self._running.get(key) is shared:
                del self._running[key]
            # Where all who waited have gone, nobody else takes the exception.
            if not task.cancelled():
                task.exception()

        shared.task.add_done_callback(forget)
        return shared
