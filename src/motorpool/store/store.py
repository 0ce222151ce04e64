"""The store: reads on the event loop's own connection, writes through the one writer thread.

A read takes some microseconds from the page cache, less than a hop to a thread would, so reads run
where they are asked for. One process per file: a second one is refused by a lock.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from motorpool.store import rows
from motorpool.store.errors import (
    Compacted,
    FutureRevision,
    StoreClosed,
    StoreLocked,
    StoreUnavailable,
    of_sqlite,
)
from motorpool.store.rows import Keys, Page, Row, Rows
from motorpool.store.watch import Broadcast, Watch, check_history
from motorpool.store.writer import Compact, Outcomes, Write, Writer

SIZE_MAX_BYTES = 8 << 30


class Store:
    """Open it with `Store.open` inside a running event loop; close it with `close`."""

    def __init__(
        self, path: Path, lock: int, reader: sqlite3.Connection, writing: sqlite3.Connection
    ) -> None:
        self.path = path
        self._lock = lock
        self._reader = reader
        self._writing = writing
        self._revision = rows.current_revision(reader)
        self._compacted = rows.compacted_revision(reader)
        self._advanced = asyncio.Event()
        self._broadcast = Broadcast()
        self._closed = False
        self._writer = Writer(writing, path, asyncio.get_running_loop(), self._report)

    @classmethod
    def open(cls, path: Path, *, size_max_bytes: int = SIZE_MAX_BYTES) -> "Store":
        """Opens or creates the file. Raises StoreUnavailable in words for the user."""
        lock = _locked(path)
        reader: sqlite3.Connection | None = None
        writing: sqlite3.Connection | None = None
        try:
            writing = rows.connect(path, size_max_bytes=size_max_bytes)
            rows.create_schema(writing)
            reader = rows.connect(path, size_max_bytes=size_max_bytes)
            return cls(path, lock, reader, writing)
        except sqlite3.Error as error:
            for connection in (reader, writing):
                if connection is not None:
                    connection.close()
            os.close(lock)
            raise of_sqlite(error, path) from error

    async def close(self) -> None:
        """Writes what was asked for, ends every watch, and lets go of the file."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._writer.stop)
        await asyncio.sleep(0)  # the writer's last report is already scheduled: let it in
        self._broadcast.close()
        self._reader.close()
        self._writing.close()
        os.close(self._lock)

    @property
    def revision(self) -> int:
        """The revision of the newest write that is on the disk."""
        return self._revision

    @property
    def compacted(self) -> int:
        """History begins after this revision."""
        return self._compacted

    @property
    def watchers(self) -> int:
        return len(self._broadcast)

    async def create(self, key: str, value: bytes) -> Row:
        """Raises KeyExists."""
        return await self._write(key, value, 0)

    async def update(self, key: str, value: bytes, *, expected: int | None = None) -> Row:
        """Raises KeyNotFound; RevisionConflict where the key is not at revision *expected*."""
        return await self._write(key, value, expected)

    async def delete(
        self, key: str, *, expected: int | None = None, value: bytes | None = None
    ) -> Row:
        """*value* is what watchers see as the last state; without it, the value the key had."""
        return await self._write(key, value, expected, deletes=True)

    async def get(self, key: str, *, at: int = 0) -> Row | None:
        """The key's row now, or as of revision *at*; None where there is none."""
        self._check(at)
        try:
            row = rows.latest_at(self._reader, key, at) if at else rows.latest(self._reader, key)
        except sqlite3.Error as error:
            raise of_sqlite(error, self.path) from error
        return None if row is None or row.deleted else row

    def row(self, revision: int) -> Row | None:
        """One revision, while history holds it."""
        self._check(0)
        try:
            return rows.at(self._reader, revision)
        except sqlite3.Error as error:
            raise of_sqlite(error, self.path) from error

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: int = 0) -> Page:
        """The keys under *prefix* in order, after key *start*, now or as of revision *at*."""
        self._check(at)
        revision = at or self._revision
        try:
            found = rows.list_keys(
                self._reader, prefix, start, revision, limit + 1 if limit else -1
            )
            compacted = rows.compacted_revision(self._reader)
        except sqlite3.Error as error:
            raise of_sqlite(error, self.path) from error
        if revision < compacted:
            raise Compacted(revision, compacted)
        more = bool(limit) and len(found) > limit
        return Page(found[:limit] if more else found, revision, more)

    async def count(self, prefix: str, *, start: str = "", at: int = 0) -> int:
        """How many keys `list` would give without a limit."""
        self._check(at)
        return rows.count_keys(self._reader, prefix, start, at or self._revision)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Watch]:
        """What happens to the keys under *prefix* after that revision. Raises Compacted."""
        self._check(0)
        check_history(after, self._compacted)
        watch = Watch(prefix, after, self._revision, self._changes)
        self._broadcast.add(watch)
        try:
            yield watch
        finally:
            self._broadcast.remove(watch)

    def end_watches(self, prefix: str) -> None:
        """Ends the watches on keys under *prefix*, once they handed out what has happened."""
        self._broadcast.end(prefix)

    async def reached(self, revision: int) -> None:
        """Returns once that revision is written."""
        while self._revision < revision:
            self._advanced.clear()
            await self._advanced.wait()

    async def stale(self, prefix: str, *, written_before: float, limit: int) -> Keys:
        """Keys, with their revisions, that were last written before that moment."""
        self._check(0)
        return rows.stale(self._reader, prefix, written_before, limit)

    async def compact(self, *, keep_s: float, keep_revisions: int) -> int:
        """Forgets history older than *keep_s*, and all but the newest *keep_revisions*.

        Returns the revision after which history now begins.
        """
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._check(0)
        self._writer.put(Compact(keep_s, keep_revisions, outcome))
        compacted = await outcome
        self._compacted = max(self._compacted, compacted)
        return compacted

    async def _write(
        self, key: str, value: bytes | None, expected: int | None, *, deletes: bool = False
    ) -> Row:
        self._check(0)
        outcome: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._writer.put(Write(key, value, expected, deletes, outcome))
        return await outcome

    def _report(self, outcomes: Outcomes, revision: int) -> None:
        """Called on the event loop after each commit."""
        self._revision = revision
        for outcome, value in outcomes:
            if outcome.done():
                continue  # whoever waited was cancelled; the write stands
            if isinstance(value, Exception):
                outcome.set_exception(value)
            else:
                outcome.set_result(value)
        # After the outcomes, so that who wrote a row resumes before who watches for it.
        self._broadcast.publish(value for _, value in outcomes if isinstance(value, Row))
        self._advanced.set()

    def _changes(self, prefix: str, after: int, upto: int, limit: int) -> Rows:
        check_history(after, self._compacted)
        try:
            found = rows.changes(self._reader, prefix, after, upto, limit)
            # Read after the rows: history that went away meanwhile must not look like silence.
            compacted = rows.compacted_revision(self._reader)
        except sqlite3.Error as error:
            raise of_sqlite(error, self.path) from error
        check_history(after, compacted)
        return found

    def _check(self, at: int) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")
        if at and at < self._compacted:
            raise Compacted(at, self._compacted)
        if at > self._revision:
            raise FutureRevision(at, self._revision)


def _locked(path: Path) -> int:
    """A descriptor that holds the lock beside *path*; the file itself comes to be 0600."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreLocked(f"{path} is in use by another process") from None
    return lock
