"""What the store raises.

StoreError
    KeyExists · KeyNotFound · RevisionConflict      the caller's view of a key is not the store's
    Compacted · FutureRevision                      the revision asked for is not there (any more)
    WatchLagged                                     a watcher read too slowly: list again
    StoreClosed
    StoreUnavailable                                the file cannot be opened, read or written
        StoreLocked · StoreFull · StoreCorrupt
"""

import sqlite3
from pathlib import Path


class StoreError(Exception):
    pass


class KeyExists(StoreError):
    pass


class KeyNotFound(StoreError):
    pass


class RevisionConflict(StoreError):
    """The key has another revision than the one expected."""


class Compacted(StoreError):
    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted; history begins after {oldest}")
        self.revision = revision
        self.oldest = oldest


class FutureRevision(StoreError):
    def __init__(self, revision: int, current: int) -> None:
        super().__init__(f"revision {revision} is not written yet; current: {current}")
        self.revision = revision
        self.current = current


class WatchLagged(StoreError):
    pass


class StoreClosed(StoreError):
    pass


class StoreUnavailable(StoreError):
    pass


class StoreLocked(StoreUnavailable):
    pass


class StoreFull(StoreUnavailable):
    pass


class StoreCorrupt(StoreUnavailable):
    pass


def of_sqlite(error: sqlite3.Error, path: Path) -> StoreUnavailable:
    """The error of the database in words that name the file and the next step."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return StoreFull(f"no space left for {path}: free some and try again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreCorrupt(
            f"{path} is damaged ({error}): restore it from a backup, or move it away to start empty"
        )
    return StoreUnavailable(f"{path}: {error}")
