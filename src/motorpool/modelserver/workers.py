"""Inference off the event loop: a bounded queue, and one thread for each inference at a time.

Rules:
  1. Threads and the loop meet in two lines: `SimpleQueue.put` and `call_soon_threadsafe`.
  2. A full queue is refused at once; it never waits to be waited for.
  3. A model that has shown that it answers faster than a thread can be woken runs on the loop
     itself, as long as it keeps doing so: for it the two hops would cost more than the inference.

Each thread calls the engine's blocking `infer`, which lets go of the GIL. The engine's own
callbacks would save nothing (they need the GIL on a foreign thread) and do not report failures.
"""

import asyncio
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import NamedTuple

from motorpool.modelserver.contract import Engine, Slot
from motorpool.modelserver.errors import ModelFault, Overloaded
from motorpool.modelserver.tensors import Array

# 512 requests behind the engine: some seconds' work for a large model, more than Envoy's own
# 1024 connections of one cluster would keep waiting usefully.
QUEUE_MOST = 512

# A hop to a thread and back costs about as much.
QUICK_S = 0.000_2
PROOFS = 16  # quick inferences in a row, before the first on the loop
DISTRUST_S = 0.002  # one slower than this on the loop, and the proof begins anew


class Answer(NamedTuple):
    outputs: list[Array]
    waited_s: float
    inferred_s: float


class _Job(NamedTuple):
    arrays: Sequence[Array]
    elements: int
    submitted: float
    future: asyncio.Future[Answer]


class Workers:
    """Made and used on the event loop, as many threads as *engine* takes inferences."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._active = 0
        self._quick = 0
        self._proven = 0  # elements of the largest request that proved quick
        self._closed = False
        self._inline = engine.slot()
        self._threads = [
            threading.Thread(
                target=self._work, args=(engine.slot(),), name=f"{name}-{index}", daemon=True
            )
            for index in range(engine.parallel)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def active(self) -> int:
        return self._active

    def is_quick(self, elements: int) -> bool:
        """Whether a request of that size has proved not to be worth a thread."""
        return self._quick >= PROOFS and elements <= self._proven

    async def infer(self, arrays: Sequence[Array]) -> Answer:
        """Raises Overloaded when too many wait already, ModelFault when the engine fails."""
        elements = sum(array.size for array in arrays)
        if self.is_quick(elements) and not self._active:
            return self._infer_inline(arrays)
        if self._closed:
            return await self._infer_late(arrays)
        if self._active >= QUEUE_MOST + len(self._threads):
            raise Overloaded(f"Too many requests: {QUEUE_MOST} are waiting already")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._active += 1
        self._queue.put(_Job(arrays, elements, perf_counter(), future))
        try:
            return await future
        finally:
            self._active -= 1

    def close(self) -> None:
        """The threads end once they have done what was submitted before."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def _infer_inline(self, arrays: Sequence[Array]) -> Answer:
        try:
            outputs, inferred_s = self._inline.infer(arrays)
        except RuntimeError as error:
            raise _fault(error) from error
        if inferred_s > DISTRUST_S:
            self._quick = 0
        return Answer(outputs, 0.0, inferred_s)

    async def _infer_late(self, arrays: Sequence[Array]) -> Answer:
        """For a request that came before `close` and was prepared after it."""
        try:
            outputs, inferred_s = await asyncio.to_thread(self._engine.slot().infer, arrays)
        except RuntimeError as error:
            raise _fault(error) from error
        return Answer(outputs, 0.0, inferred_s)

    def _work(self, slot: Slot) -> None:
        while (job := self._queue.get()) is not None:
            if job.future.cancelled():
                continue
            started = perf_counter()
            try:
                outputs, inferred_s = slot.infer(job.arrays)
            except Exception as error:  # noqa: BLE001 - whatever the engine throws, its caller gets it.
                self._report(job, _fault(error))
            else:
                self._report(job, Answer(outputs, started - job.submitted, inferred_s))

    def _report(self, job: _Job, result: "Answer | ModelFault") -> None:
        try:
            self._loop.call_soon_threadsafe(self._finish, job, result)
        except RuntimeError:
            return  # The loop is closed: the server ended before this inference did.

    def _finish(self, job: _Job, result: "Answer | ModelFault") -> None:
        if isinstance(result, Answer):
            self._learn(job, result)
        if job.future.done():
            return  # The client hung up.
        if isinstance(result, Answer):
            job.future.set_result(result)
        else:
            job.future.set_exception(result)

    def _learn(self, job: _Job, answer: Answer) -> None:
        if answer.inferred_s > QUICK_S:
            self._quick = 0
            return
        self._proven = job.elements if self._quick == 0 else max(self._proven, job.elements)
        self._quick += 1


def _fault(error: Exception) -> ModelFault:
    lines = str(error).strip().splitlines()
    return ModelFault("Internal inference error", lines[-1].strip() if lines else "")
