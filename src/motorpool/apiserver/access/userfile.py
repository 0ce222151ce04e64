"""The users that have a token of their own: a file of names, groups and hashes of tokens.

A token is 256 random bits, so that a plain SHA-256 of it tells nothing. The file is read again when
it changes: who is added may come in at once, who is removed may not.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec

from motorpool.api.errors import Unauthorized
from motorpool.apiserver.authentication import User, bearer_of
from motorpool.base.atomicfile import write_atomically

TOKEN_BYTES = 32
PREFIX = "mp-"
"""What tokens of users begin with, so that one in the wrong place is found."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    groups: list[str]
    hash: str
    created: str


class Added(NamedTuple):
    entry: Entry
    token: str


class NameTaken(Exception):
    """A user of that name has a token already."""


class NoSuchUser(Exception):
    pass


def read(file: Path) -> list[Entry]:
    """Raises OSError; ValueError where the file is no list of users."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    return msgspec.json.decode(content, type=list[Entry])


def add(file: Path, name: str, groups: list[str], *, created: str) -> Added:
    """Raises NameTaken, OSError, ValueError."""
    entries = read(file)
    if any(entry.name == name for entry in entries):
        raise NameTaken(name)
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    entry = Entry(name=name, groups=groups, hash=_hash(token), created=created)
    _write(file, [*entries, entry])
    return Added(entry, token)


def remove(file: Path, name: str) -> None:
    """Raises NoSuchUser, OSError, ValueError."""
    entries = read(file)
    kept = [entry for entry in entries if entry.name != name]
    if len(kept) == len(entries):
        raise NoSuchUser(name)
    _write(file, kept)


def _write(file: Path, entries: list[Entry]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(entries), indent=1)
    write_atomically(file, content + b"\n", mode=0o600)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class UserFile:
    """Believes the tokens of the users in the file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._users: list[tuple[str, User]] = []

    async def authenticate(self, authorization: str) -> User:
        token = bearer_of(authorization)
        if token.startswith(PREFIX):
            given = _hash(token)
            for known, user in self._current():
                if hmac.compare_digest(known, given):
                    return user
        raise Unauthorized("Unauthorized")

    def _current(self) -> list[tuple[str, User]]:
        try:
            status = self._file.stat()
            stamp = status.st_mtime_ns, status.st_ino
            if stamp != self._stamp:
                self._users = [(entry.hash, _user(entry)) for entry in read(self._file)]
                self._stamp = stamp
        except (OSError, ValueError):
            # Nobody comes in by a file that cannot be read.
            self._users, self._stamp = [], None
        return self._users


def _user(entry: Entry) -> User:
    return User(entry.name, (*entry.groups, "system:authenticated"))
