"""The one thread that writes: takes what has gathered, writes it in one transaction, reports.

Group commit: while one commit waits for the disk, the writes that arrive gather for the next. An
outcome is reported only after its commit, so what was acknowledged is on the disk. The report is
one call into the event loop per commit, in commit order.
"""

import queue
import sqlite3
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from motorpool.store import rows
from motorpool.store.errors import (
    KeyExists,
    KeyNotFound,
    RevisionConflict,
    StoreError,
    of_sqlite,
)
from motorpool.store.rows import Row

BATCH_SIZE_MAX = 256
FORGET_ROWS_MAX = 500


@dataclass(frozen=True, slots=True)
class Write:
    """*expected* is the revision that the key must have: 0 none, None any."""

    key: str
    value: bytes | None  # None keeps the last value; only for deletions
    expected: int | None
    deletes: bool
    outcome: "Future[Any]"


@dataclass(frozen=True, slots=True)
class Compact:
    keep_s: float
    keep_revisions: int
    outcome: "Future[Any]"


Outcomes: TypeAlias = list[tuple["Future[Any]", Any]]
"""Who waits, and for what: a Row, an int, or the exception to raise."""

Report: TypeAlias = Callable[[Outcomes, int], None]


class Writer:
    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        loop: AbstractEventLoop,
        report: Report,
    ) -> None:
        self._connection = connection
        self._path = path
        self._loop = loop
        self._report = report
        self._queue: queue.SimpleQueue[Write | Compact | None] = queue.SimpleQueue()
        self._revision = rows.current_revision(connection)
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)
        self._thread.start()

    def put(self, order: Write | Compact) -> None:
        self._queue.put(order)

    def stop(self) -> None:
        """Writes what has gathered, then ends the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, stopping = self._gather()
            writes = [order for order in batch if isinstance(order, Write)]
            if writes:
                self._tell(self._write(writes))
            for order in batch:
                if isinstance(order, Compact):
                    self._tell([(order.outcome, self._compact(order))])
            if stopping:
                return

    def _gather(self) -> tuple[list[Write | Compact], bool]:
        batch: list[Write | Compact] = []
        order = self._queue.get()
        while order is not None:
            batch.append(order)
            if len(batch) >= BATCH_SIZE_MAX:
                return batch, False
            try:
                order = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _tell(self, outcomes: Outcomes) -> None:
        try:
            self._loop.call_soon_threadsafe(self._report, outcomes, self._revision)
        except RuntimeError:
            # The loop is closed: whoever waited is gone with it.
            return

    def _write(self, writes: list[Write]) -> Outcomes:
        before = self._revision
        outcomes: Outcomes = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            written = time.time()
            for write in writes:
                try:
                    outcomes.append((write.outcome, self._write_one(write, written)))
                except StoreError as error:
                    outcomes.append((write.outcome, error))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._revision = before
            self._roll_back()
            refusal = of_sqlite(error, self._path)
            return [(write.outcome, refusal) for write in writes]
        return outcomes

    def _write_one(self, write: Write, written: float) -> Row:
        found = rows.latest(self._connection, write.key)
        existing = found if found is not None and not found.deleted else None
        if write.expected == 0 and existing is not None:
            raise KeyExists(write.key)
        if write.expected != 0 and existing is None:
            raise KeyNotFound(write.key)
        if write.expected and existing is not None and existing.revision != write.expected:
            raise RevisionConflict(f"{write.key}: {existing.revision}, not {write.expected}")
        revision = self._revision + 1
        value = write.value
        if value is None:
            value = existing.value if existing is not None else b""
        row = Row(
            revision,
            write.key,
            existing.created if existing is not None else revision,
            existing.revision if existing is not None else 0,
            int(write.deletes),
            value,
        )
        rows.insert(self._connection, row, written)
        self._revision = revision
        return row

    def _compact(self, order: Compact) -> Any:
        """The revision before which history is gone, or why it could not be made so."""
        try:
            upto = rows.horizon(
                self._connection,
                written_before=time.time() - order.keep_s,
                keep=order.keep_revisions,
            )
            # In small steps, so that nobody's write waits long behind it.
            removed = FORGET_ROWS_MAX
            while removed == FORGET_ROWS_MAX:
                self._connection.execute("BEGIN IMMEDIATE")
                removed = rows.forget(self._connection, upto, FORGET_ROWS_MAX)
                self._connection.execute("COMMIT")
            return rows.compacted_revision(self._connection)
        except sqlite3.Error as error:
            self._roll_back()
            return of_sqlite(error, self._path)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
