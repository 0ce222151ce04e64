"""Inference off the event loop: a bounded queue, and one thread for each inference at a time.

Rules:
  1. Threads and the loop meet in two lines: `SimpleQueue.put` and `call_soon_threadsafe`.
  2. A full queue is refused at once; it never waits to be waited for.
  3. A model that has shown that it answers faster than a thread can be woken runs on the loop
     itself, as long as it keeps doing so: for it the two hops would cost more than the inference.
  4. What nobody waits for any more (the client left, its time is over) is not begun.
  5. Requests that have come together are computed together where the engine gains by it: not
     where an inference costs less than the putting together. None
     waits for another to come, unless the operator gave a window for that; and where one fails,
     each is asked again by itself, so that nobody hears of another's mistake.

Each thread calls the engine's blocking `infer`, which lets go of the GIL. The engine's own
callbacks would save nothing (they need the GIL on a foreign thread) and do not report failures.
"""

import asyncio
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import NamedTuple

from motorpool.modelserver import batching
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
# Waiting for what else comes in this turn of the loop costs about as much.
CHEAP_S = 0.000_040

# Of an engine that gains nothing by itself, once its operator gave a window.
WINDOW_ROWS_MOST = 64


class Answer(NamedTuple):
    outputs: list[Array]
    waited_s: float
    inferred_s: float


class _Job(NamedTuple):
    arrays: Sequence[Array]
    elements: int
    rows: int
    submitted: float
    future: asyncio.Future[Answer]


class Workers:
    """Made and used on the event loop, as many threads as *engine* takes inferences."""

    def __init__(self, engine: Engine, name: str, window_s: float = 0.0) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._window_s = window_s
        self._rows_most = _rows_most(engine, window_s)
        self._active = 0
        self._quick = 0
        self._proven = 0  # elements of the largest request that proved quick
        self._cheap = False  # the last one on the loop was
        self._closed = False
        self._inline = engine.slot(on_loop=True)
        self._gathered: list[_Job] = []  # quick requests of this turn of the loop
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

    @property
    def is_idle(self) -> bool:
        """Whether a request would be begun at once."""
        return self._active < len(self._threads)

    def is_quick(self, elements: int) -> bool:
        """Whether a request of that size has proved not to be worth a thread."""
        return self._quick >= PROOFS and elements <= self._proven

    async def infer(self, arrays: Sequence[Array]) -> Answer:
        """Raises Overloaded when too many wait already, ModelFault when the engine fails."""
        elements = sum(array.size for array in arrays)
        if self.is_quick(elements) and not self._active and not self._window_s:
            if self._rows_most == 1 or self._cheap:
                return self._infer_inline(arrays)
            return await self._gather(self._job(arrays, elements))
        if self._closed:
            return await self._infer_late(arrays)
        if self._active >= QUEUE_MOST + len(self._threads):
            raise Overloaded(f"Too many requests: {QUEUE_MOST} are waiting already")
        job = self._job(arrays, elements)
        self._active += 1
        self._queue.put(job)
        try:
            return await job.future
        finally:
            self._active -= 1

    def close(self) -> None:
        """The threads end once they have done what was submitted before."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def _job(self, arrays: Sequence[Array], elements: int) -> _Job:
        rows = batching.rows_of(arrays) if self._rows_most > 1 else 0
        return _Job(arrays, elements, rows, perf_counter(), self._loop.create_future())

    def _infer_inline(self, arrays: Sequence[Array]) -> Answer:
        try:
            outputs, inferred_s = self._inline.infer(arrays)
        except RuntimeError as error:
            raise _fault(error) from error
        self._judge(inferred_s)
        return Answer(outputs, 0.0, inferred_s)

    def _judge(self, inferred_s: float) -> None:
        """Of one on the loop."""
        self._cheap = inferred_s < CHEAP_S
        if inferred_s > DISTRUST_S:
            self._quick = 0

    async def _gather(self, job: _Job) -> Answer:
        """Computes *job* on the loop, with all that come in the same turn of it."""
        if not self._gathered:
            self._loop.call_soon(self._infer_gathered)
        self._gathered.append(job)
        return await job.future

    def _infer_gathered(self) -> None:
        jobs, self._gathered = self._gathered, []
        while jobs:
            batch, jobs = self._first_batch([job for job in jobs if not job.future.done()])
            results = _computed(self._inline, batch)
            if isinstance(results[0], Answer):
                self._judge(results[0].inferred_s)  # as long for all of them
            for job, result in zip(batch, results, strict=True):
                _settle(job, result)

    def _first_batch(self, jobs: list[_Job]) -> tuple[list[_Job], list[_Job]]:
        """What the first of *jobs* can be computed with, and the rest."""
        batch: list[_Job] = []
        rest: list[_Job] = []
        for job in jobs:
            (batch if self._fits(batch, job) else rest).append(job)
        return batch, rest

    def _fits(self, batch: list[_Job], job: _Job) -> bool:
        if not batch:
            return True
        rows = sum(each.rows for each in batch) + job.rows
        return (
            batch[0].rows > 0
            and job.rows > 0
            and rows <= self._rows_most
            and batching.fit(batch[0].arrays, job.arrays)
        )

    async def _infer_late(self, arrays: Sequence[Array]) -> Answer:
        """For a request that came before `close` and was prepared after it."""
        try:
            outputs, inferred_s = await asyncio.to_thread(self._engine.slot().infer, arrays)
        except RuntimeError as error:
            raise _fault(error) from error
        return Answer(outputs, 0.0, inferred_s)

    def _work(self, slot: Slot) -> None:
        job = self._queue.get()
        while job is not None:
            batch, taken = self._batch(job)
            if batch and not self._report(batch, _computed(slot, batch)):
                return
            job = taken[0] if taken else self._queue.get()

    def _batch(self, first: _Job) -> tuple[list[_Job], list[_Job | None]]:
        """*first* and what can be computed with it; and what was taken from the queue beyond it."""
        batch = [] if first.future.cancelled() else [first]
        if self._rows_most == 1 or not batch:
            return batch, []
        until = perf_counter() + self._window_s
        while sum(job.rows for job in batch) < self._rows_most:
            left = until - perf_counter()
            try:
                job = self._queue.get(left > 0, max(left, 0))
            except Empty:
                break
            if job is not None and job.future.cancelled():
                continue
            if job is None or not self._fits(batch, job):
                return batch, [job]
            batch.append(job)
        return batch, []

    def _report(self, batch: list[_Job], results: "list[Answer | ModelFault]") -> bool:
        """Whether anybody still listens."""
        try:
            self._loop.call_soon_threadsafe(self._finish, batch, results)
        except RuntimeError:
            return False  # The loop is closed: the server ended before this inference did.
        return True

    def _finish(self, batch: list[_Job], results: "list[Answer | ModelFault]") -> None:
        for job, result in zip(batch, results, strict=True):
            if isinstance(result, Answer):
                self._learn(job, result)
            _settle(job, result)

    def _learn(self, job: _Job, answer: Answer) -> None:
        if answer.inferred_s > QUICK_S:
            self._quick = 0
            return
        self._proven = job.elements if self._quick == 0 else max(self._proven, job.elements)
        self._quick += 1


def _rows_most(engine: Engine, window_s: float) -> int:
    if engine.batch_most > 1:
        return engine.batch_most
    return WINDOW_ROWS_MOST if window_s and batching.is_batchable(engine.spec) else 1


def _computed(slot: Slot, batch: list[_Job]) -> "list[Answer | ModelFault]":
    """One result for each of *batch*."""
    if len(batch) > 1 and (together := _together(slot, batch)) is not None:
        return together
    return [_alone(slot, job) for job in batch]


def _together(slot: Slot, batch: list[_Job]) -> "list[Answer | ModelFault] | None":
    """None where they have to be asked one by one."""
    started = perf_counter()
    try:
        outputs, inferred_s = slot.infer(batching.joined([job.arrays for job in batch]))
    except Exception:  # noqa: BLE001 - whose fault it is, each will hear by itself.
        return None
    parts = batching.split(outputs, [job.rows for job in batch])
    if parts is None:
        return None
    return [
        Answer(part, started - job.submitted, inferred_s)
        for job, part in zip(batch, parts, strict=True)
    ]


def _alone(slot: Slot, job: _Job) -> "Answer | ModelFault":
    started = perf_counter()
    try:
        outputs, inferred_s = slot.infer(job.arrays)
    except Exception as error:  # noqa: BLE001 - whatever the engine throws, its caller gets it.
        return _fault(error)
    return Answer(outputs, started - job.submitted, inferred_s)


def _settle(job: _Job, result: "Answer | ModelFault") -> None:
    if job.future.done():
        return  # The client hung up.
    if isinstance(result, Answer):
        job.future.set_result(result)
    else:
        job.future.set_exception(result)


def _fault(error: Exception) -> ModelFault:
    lines = str(error).strip().splitlines()
    return ModelFault("Internal inference error", lines[-1].strip() if lines else "")
