"""The table of revisions, and the queries on it. The only file with SQL.

A row is a revision: one key as it was from that revision on. Revisions are one counter over all
keys. A deletion is a row too; its value is the last one the key had. Rules: the row with the
highest revision is never removed, so that the counter never goes back; compaction up to C keeps,
for every key, the row that was current at C.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple, TypeAlias

SCHEMA_VERSION = 1
PAGE_CACHE_KIB = 4096
WAL_SIZE_MAX_BYTES = 16 << 20

_SCHEMA = """
CREATE TABLE revisions (
  revision INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL,
  created  INTEGER NOT NULL, -- the revision that created the key
  previous INTEGER NOT NULL, -- the key's revision before this one; 0 for a creation
  deleted  INTEGER NOT NULL,
  written  REAL    NOT NULL, -- seconds since the epoch
  value    BLOB    NOT NULL
);
CREATE UNIQUE INDEX revisions_by_key ON revisions (key, revision);
CREATE TABLE compaction (revision INTEGER NOT NULL);
INSERT INTO compaction VALUES (0);
"""

_COLUMNS = "revision, key, created, previous, deleted, value"
_LATEST = f"SELECT {_COLUMNS} FROM revisions WHERE key = ? ORDER BY revision DESC LIMIT 1"
_LATEST_AT = (
    f"SELECT {_COLUMNS} FROM revisions WHERE key = ? AND revision <= ? "
    "ORDER BY revision DESC LIMIT 1"
)
_AT = f"SELECT {_COLUMNS} FROM revisions WHERE revision = ?"
# With max() and GROUP BY, SQLite takes the other columns from the row that holds the maximum.
_LIST = (
    "SELECT max(revision), key, created, previous, deleted, value FROM revisions "
    "WHERE key > ? AND key < ? AND revision <= ? GROUP BY key HAVING deleted = 0 "
    "ORDER BY key LIMIT ?"
)
_COUNT = (
    "SELECT count(*) FROM (SELECT max(revision), deleted FROM revisions "
    "WHERE key > ? AND key < ? AND revision <= ? GROUP BY key HAVING deleted = 0)"
)
_CHANGES = (
    f"SELECT {_COLUMNS} FROM revisions WHERE revision > ? AND revision <= ? "
    "AND key > ? AND key < ? ORDER BY revision LIMIT ?"
)
_STALE = (
    "SELECT key, revision FROM (SELECT max(revision) AS revision, key, deleted, written "
    "FROM revisions WHERE key > ? AND key < ? GROUP BY key) "
    "WHERE deleted = 0 AND written < ? LIMIT ?"
)
_INSERT = "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)"
_SUPERSEDED = (
    "SELECT r.revision FROM revisions r WHERE r.revision <= :upto AND (EXISTS ("
    "SELECT 1 FROM revisions n WHERE n.key = r.key AND n.revision > r.revision "
    "AND n.revision <= :upto) OR r.deleted = 1) LIMIT :limit"
)


class Row(NamedTuple):
    revision: int
    key: str
    created: int
    previous: int
    deleted: int
    value: bytes


Rows: TypeAlias = list[Row]
Keys: TypeAlias = list[tuple[str, int]]


class Page(NamedTuple):
    rows: Rows
    revision: int  # the state of the store that the page shows
    more: bool


def end_of(prefix: str) -> str:
    """The first string after all that begin with *prefix*."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"


def connect(path: Path, *, size_max_bytes: int) -> sqlite3.Connection:
    """A connection that another thread may use, if one at a time does."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{PAGE_CACHE_KIB}",
        f"journal_size_limit = {WAL_SIZE_MAX_BYTES}",
        "temp_store = MEMORY",
        f"max_page_count = {size_max_bytes // 4096}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    elif version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its format is {version}, this program reads {SCHEMA_VERSION}")


def current_revision(connection: sqlite3.Connection) -> int:
    (revision,) = connection.execute("SELECT max(revision) FROM revisions").fetchone()
    return int(revision or 0)


def compacted_revision(connection: sqlite3.Connection) -> int:
    (revision,) = connection.execute("SELECT revision FROM compaction").fetchone()
    return int(revision)


def latest(connection: sqlite3.Connection, key: str) -> Row | None:
    """The newest row of *key*, a deletion included."""
    found = connection.execute(_LATEST, (key,)).fetchone()
    return Row._make(found) if found else None


def latest_at(connection: sqlite3.Connection, key: str, revision: int) -> Row | None:
    found = connection.execute(_LATEST_AT, (key, revision)).fetchone()
    return Row._make(found) if found else None


def at(connection: sqlite3.Connection, revision: int) -> Row | None:
    found = connection.execute(_AT, (revision,)).fetchone()
    return Row._make(found) if found else None


def list_keys(
    connection: sqlite3.Connection, prefix: str, start: str, revision: int, limit: int
) -> list[Row]:
    bounds = (start or prefix, end_of(prefix), revision, limit)
    return [Row._make(row) for row in connection.execute(_LIST, bounds)]


def count_keys(connection: sqlite3.Connection, prefix: str, start: str, revision: int) -> int:
    bounds = (start or prefix, end_of(prefix), revision)
    return int(connection.execute(_COUNT, bounds).fetchone()[0])


def changes(
    connection: sqlite3.Connection, prefix: str, after: int, upto: int, limit: int
) -> list[Row]:
    bounds = (after, upto, prefix, end_of(prefix), limit)
    return [Row._make(row) for row in connection.execute(_CHANGES, bounds)]


def stale(
    connection: sqlite3.Connection, prefix: str, written_before: float, limit: int
) -> list[tuple[str, int]]:
    bounds = (prefix, end_of(prefix), written_before, limit)
    return [(str(key), int(revision)) for key, revision in connection.execute(_STALE, bounds)]


def insert(connection: sqlite3.Connection, row: Row, written: float) -> None:
    values = (row.revision, row.key, row.created, row.previous, row.deleted, written, row.value)
    connection.execute(_INSERT, values)


def horizon(connection: sqlite3.Connection, *, written_before: float, keep: int) -> int:
    """The highest revision that is old enough to forget its history; at most *keep* remain."""
    newest = current_revision(connection)
    query = "SELECT revision FROM revisions WHERE written < ? ORDER BY revision DESC LIMIT 1"
    found = connection.execute(query, (written_before,)).fetchone()
    old = int(found[0]) if found else 0
    # The newest row stays whatever it is: it holds the counter.
    return max(0, min(newest - 1, max(old, newest - keep)))


def forget(connection: sqlite3.Connection, upto: int, limit: int) -> int:
    """Removes at most *limit* rows that nothing after *upto* needs; returns how many went."""
    connection.execute("UPDATE compaction SET revision = max(revision, ?)", (upto,))
    doomed = connection.execute(_SUPERSEDED, {"upto": upto, "limit": limit}).fetchall()
    connection.executemany("DELETE FROM revisions WHERE revision = ?", doomed)
    return len(doomed)
