"""Who hears of new revisions. A watcher that reads too slowly is cut off, never waited for."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from motorpool.store.errors import Compacted, StoreClosed, StoreError, WatchLagged
from motorpool.store.rows import Row

PENDING_ROWS_MAX = 8192
HISTORY_ROWS_MAX = 500

History = Callable[[str, int, int, int], list[Row]]
"""(prefix, after, up to, limit) -> rows; raises Compacted."""


class Watch:
    """The rows under one prefix after one revision, in order, without gaps."""

    def __init__(self, prefix: str, after: int, upto: int, history: History) -> None:
        self.prefix = prefix
        self.revision = after
        """Everything up to here has been handed out."""
        self._upto = upto  # up to here history answers, beyond it what was offered
        self._history: History | None = history if after < upto else None
        self._pending: deque[Row] = deque()
        self._wake: asyncio.Event = asyncio.Event()
        self._error: StoreError | None = None
        self._ended = False

    def offer(self, row: Row) -> None:
        if self._error is not None or row.revision <= self.revision:
            return
        if len(self._pending) >= PENDING_ROWS_MAX:
            self.fail(WatchLagged(f"more than {PENDING_ROWS_MAX} changes behind"))
            return
        self._pending.append(row)
        self._wake.set()

    def fail(self, error: StoreError) -> None:
        self._error = error
        self._pending.clear()
        self._wake.set()

    def end(self) -> None:
        """After what is already here, nothing more comes: as if the store were closed."""
        self._ended = True
        self._wake.set()

    async def next(self) -> list[Row]:
        """The next rows, at least one. Raises Compacted, WatchLagged, StoreClosed."""
        while True:
            if self._error is not None:
                raise self._error
            rows = self._from_history() or self._from_pending()
            if rows:
                self.revision = rows[-1].revision
                return rows
            if self._ended:
                raise StoreClosed("the watch was ended")
            self._wake.clear()
            await self._wake.wait()

    def _from_history(self) -> list[Row]:
        if self._history is None:
            return []
        rows = self._history(self.prefix, self.revision, self._upto, HISTORY_ROWS_MAX)
        if len(rows) < HISTORY_ROWS_MAX:
            self._history = None
        return rows

    def _from_pending(self) -> list[Row]:
        rows = list(self._pending)
        self._pending.clear()
        return rows


class Broadcast:
    """Every watch there is, by prefix."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watches.values()))

    def add(self, watch: Watch) -> None:
        self._watches.setdefault(watch.prefix, set()).add(watch)

    def remove(self, watch: Watch) -> None:
        watches = self._watches.get(watch.prefix)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[watch.prefix]

    def publish(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for prefix, watches in self._watches.items():
                if row.key.startswith(prefix):
                    for watch in watches:
                        watch.offer(row)

    def end(self, prefix: str) -> None:
        """Ends the watches on keys under *prefix*."""
        for watched, watches in self._watches.items():
            if watched.startswith(prefix):
                for watch in watches:
                    watch.end()

    def close(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.fail(StoreClosed("the store is closed"))


def check_history(after: int, compacted: int) -> None:
    if after < compacted:
        raise Compacted(after, compacted)
