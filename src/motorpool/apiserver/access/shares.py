"""Fair shares of the server: how many requests run at once, and how many streams are open.

Requests beyond that wait, and those who wait take turns by user, so that one who asks a thousand
things at once does not keep another from asking one. Who waits too long, or has too many waiting,
is told to come again.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from motorpool.api.errors import TooManyRequests

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    running_max: int = 256
    running_per_user_max: int = 128
    waiting_max: int = 4096
    waiting_per_user_max: int = 1024
    waiting_time_s: float = 15.0
    streams_max: int = 4096
    streams_per_user_max: int = 1024


def too_many() -> TooManyRequests:
    text = "Too many requests, please try again later."
    return TooManyRequests(text, retry_after_s=RETRY_AFTER_S)


class Shares:
    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._streams: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self, user: str) -> AsyncIterator[None]:
        """While one request of *user* runs. Raises TooManyRequests."""
        if self._has_room(user) and not self._waiting.get(user):
            self._running[user] += 1
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._leave(user)

    @contextmanager
    def streaming(self, user: str) -> Iterator[None]:
        """While a watch, or another stream, of *user* is open. Raises TooManyRequests."""
        limits = self._limits
        if (
            self._streams.total() >= limits.streams_max
            or self._streams[user] >= limits.streams_per_user_max
        ):
            raise too_many()
        self._streams[user] += 1
        try:
            yield
        finally:
            _less(self._streams, user)

    def _has_room(self, user: str) -> bool:
        limits = self._limits
        return (
            self._running.total() < limits.running_max
            and self._running[user] < limits.running_per_user_max
        )

    async def _wait(self, user: str) -> None:
        limits = self._limits
        queue = self._waiting.setdefault(user, deque())
        waiting = sum(map(len, self._waiting.values()))
        if len(queue) >= limits.waiting_per_user_max or waiting >= limits.waiting_max:
            raise too_many()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(limits.waiting_time_s):
                await turn
        except TimeoutError:
            self._give_up(user, turn)
            raise too_many() from None
        except BaseException:
            self._give_up(user, turn)
            raise

    def _give_up(self, user: str, turn: asyncio.Future[None]) -> None:
        """Whose turn came just then leaves again; whose did not stands in line no longer."""
        if turn.done() and not turn.cancelled():
            self._leave(user)
            return
        queue = self._waiting.get(user)
        if queue is not None and turn in queue:
            queue.remove(turn)
        if not queue:
            self._waiting.pop(user, None)

    def _leave(self, user: str) -> None:
        _less(self._running, user)
        for waiting in list(self._waiting):
            if not self._has_room(waiting):
                continue
            self._admit(waiting)
            return

    def _admit(self, user: str) -> None:
        """The first of *user*'s requests runs; the user goes to the end of the line."""
        queue = self._waiting.pop(user)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                self._running[user] += 1
                turn.set_result(None)
                break
        if queue:
            self._waiting[user] = queue


def _less(counts: Counter[str], user: str) -> None:
    counts[user] -= 1
    if not counts[user]:
        del counts[user]
