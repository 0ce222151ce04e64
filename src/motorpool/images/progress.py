"""How far a transfer is, from the threads that do it to whoever shows it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from motorpool.images.manifest import Manifest
from motorpool.images.reference import Reference

INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    reference: str
    done_bytes: int
    total_bytes: int


ProgressTo: TypeAlias = Callable[[Progress], None]


class Counter:
    """Adds up what threads report, and tells it ten times a second at most."""

    def __init__(
        self, name: Reference, manifest: Manifest | None, progress: ProgressTo | None
    ) -> None:
        self._name = str(name)
        self._total = manifest.size if manifest else 0
        self._progress = progress
        self._done = 0
        self._told_at = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> "Counter":
        self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        self._tell()

    def expect(self, total: int) -> None:
        self._total = total

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._told_at < INTERVAL_S:
                return
            self._told_at = now
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            # What is fetched twice, after a fault, counts once.
            done = min(self._done, self._total)
            self._progress(Progress(self._name, done, self._total))
