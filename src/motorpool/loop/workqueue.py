"""Keys waiting for a reconcile: deduplicated, delayed, backed off. No I/O; takes `now`.

Rules: a key is never handed out twice at the same time; a key added while it is being worked on is
handed out again afterwards; adding a key that waits out a delay makes it due at the earlier time.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from motorpool.base.backoff import Backoff

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: Key, due: float) -> None:
        """Makes *key* due at that time, or earlier if it already was."""
        waiting = self._again if key in self._working else self._due
        if key in waiting and waiting[key] <= due:
            return
        waiting[key] = due
        if waiting is self._due:
            self._push(key, due)

    def take(self, now: float) -> Key | None:
        """A key that is due, now being worked on; None where there is none."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._working.add(key)
                return key
        return None

    def done(self, key: Key, *, now: float, failed: bool = False, least_s: float = 0.0) -> float:
        """Ends the work on *key*. Returns the back-off of a failed one, at least *least_s*."""
        self._working.discard(key)
        delay = 0.0
        if failed:
            self._failures[key] = self._failures.get(key, 0) + 1
            delay = max(least_s, self._backoff.delay_s(self._failures[key]))
            self.add(key, now + delay)
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self.add(
                key, max(self._again.pop(key), now + delay) if failed else self._again.pop(key)
            )
        return delay

    def has_changed(self, key: Key) -> bool:
        """Whether a key that is being worked on was added again meanwhile."""
        return key in self._again

    def next_due(self) -> float | None:
        """When the next key is due; None where none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _push(self, key: Key, due: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
