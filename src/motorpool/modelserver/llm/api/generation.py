"""Runs what a request asks for on the engine; here and nowhere else is an engine called for text.

Rules:
  1. Whoever closes an iterator, or is cancelled in it, cancels the engine's work: one request, all
     of its answers.
  2. Each answer is counted once, whatever it ends by.
  3. What waits for a slow client is bounded: an answer's events wait in the engine's own queue.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from motorpool.modelserver.llm.api.answer import AnswerReader, Piece, Reading
from motorpool.modelserver.llm.api.errors import (
    EngineFailed,
    RequestError,
    engine_busy,
    engine_dead,
)
from motorpool.modelserver.llm.api.metrics import Metrics, RequestTimes
from motorpool.modelserver.llm.contract import (
    Engine,
    EngineBusy,
    EngineDead,
    FinishReason,
    Generation,
    Sampling,
    Tokens,
)

BATCH_MAX = 256  # pieces that wait for one write


@dataclass(frozen=True, slots=True)
class Ask:
    """One answer that is wanted."""

    id: str
    prompt: Sequence[int]
    sampling: Sampling
    reading: Reading


Batch = list[tuple[int, Piece]]
"""Pieces with the number of the answer that each belongs to."""


class Generator:
    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self.running = 0

    async def run(self, asks: Sequence[Ask]) -> AsyncGenerator[Batch, None]:
        """Pieces as they come, until each answer has one with `finish`. Raises RequestError."""
        self.running += 1
        try:
            if len(asks) == 1:
                async with aclosing(self._pieces(asks[0])) as pieces:
                    async for piece in pieces:
                        yield [(0, piece)]
            else:
                async with aclosing(self._merged(asks)) as batches:
                    async for batch in batches:
                        yield batch
        finally:
            self.running -= 1

    async def _merged(self, asks: Sequence[Ask]) -> AsyncGenerator[Batch, None]:
        queue: asyncio.Queue[tuple[int, Piece] | BaseException] = asyncio.Queue(BATCH_MAX)

        async def pump(number: int, ask: Ask) -> None:
            try:
                async with aclosing(self._pieces(ask)) as pieces:
                    async for piece in pieces:
                        await queue.put((number, piece))
            except RequestError as error:
                await queue.put(error)

        pumps = [asyncio.create_task(pump(number, ask)) for number, ask in enumerate(asks)]
        left = len(asks)
        try:
            while left:
                batch: Batch = []
                for each in await _available(queue):
                    if isinstance(each, BaseException):
                        raise each
                    batch.append(each)
                    left -= each[1].finish is not None
                yield batch
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pieces(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        reader = AnswerReader(ask.reading, ask.prompt, ask.sampling)
        times = RequestTimes(time.monotonic())
        ended: FinishReason = "abort"
        try:
            async with _closing(self._engine.generate(_generation(ask))) as events:
                async for event in events:
                    piece = reader.read(event)
                    self._metrics.came(times, len(piece.ids), time.monotonic())
                    if piece.finish is not None:
                        ended = piece.finish
                    yield piece
                    if piece.finish is not None:
                        return
            raise EngineFailed("the engine ended an answer without a reason")
        except EngineDead as error:
            ended = "error"
            raise engine_dead(error) from error
        except EngineBusy as error:
            ended = "error"
            raise engine_busy(error) from error
        except RequestError:
            ended = "error"
            raise
        finally:
            self._metrics.ended(times, ended, time.monotonic())


def _generation(ask: Ask) -> Generation:
    return Generation(ask.id, ask.prompt, ask.sampling)


@contextlib.asynccontextmanager
async def _closing(events: AsyncIterator[Tokens]) -> AsyncIterator[AsyncIterator[Tokens]]:
    """The contract's iterators are generators; closing them is what cancels."""
    async with aclosing(cast(AsyncGenerator[Tokens, None], events)):
        yield events


async def _available(
    queue: asyncio.Queue[tuple[int, Piece] | BaseException],
) -> list[tuple[int, Piece] | BaseException]:
    """At least one; with it whatever else is there, for one write."""
    found = [await queue.get()]
    with contextlib.suppress(asyncio.QueueEmpty):
        while len(found) < BATCH_MAX:
            found.append(queue.get_nowait())
    return found
