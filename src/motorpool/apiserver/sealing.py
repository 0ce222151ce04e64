"""Secrets as they are kept: sealed with AES-256-GCM by a key that is not in the database.

A sealed value is MARK, the key's id, a colon, the nonce and the sealed text; its place in the store
is sealed in, so that a value cannot be moved to another Secret. Any other value is JSON, from
before there was a key. The newest key of the file seals, all of them open. The file is read again
when it changes, so that a rotated key counts at once.
"""

import base64
import secrets
from pathlib import Path
from typing import Any

from motorpool.api.errors import InternalError
from motorpool.base.atomicfile import write_atomically

MARK = b"\x00sealed:1:"
KEY_BYTES, NONCE_BYTES, ID_BYTES = 32, 12, 4


def is_sealed(value: bytes) -> bool:
    return value.startswith(MARK)


class Sealer:
    """Made with `Sealer.ensure`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = (0, 0)
        self._keys: dict[bytes, Any] = {}
        self.current = b""
        """The id of the key that seals."""

    @classmethod
    def ensure(cls, file: Path) -> "Sealer":
        """With the keys in *file*; the first one is made where there is none. Raises OSError."""
        if not file.exists():
            add_key(file)
        sealer = cls(file)
        sealer.refresh()
        return sealer

    def refresh(self) -> None:
        """Reads the file again where it changed. Raises OSError."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        status = self._file.stat()
        stamp = status.st_mtime_ns, status.st_ino
        if stamp == self._stamp:
            return
        keys = _read(self._file)
        self._keys = {id_.encode(): AESGCM(base64.b64decode(key)) for id_, key in keys}
        self.current = keys[0][0].encode()
        self._stamp = stamp

    def seal(self, place: str, value: bytes) -> bytes:
        """Raises InternalError: what cannot be sealed is not to be stored."""
        self._refreshed()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed: bytes = self._keys[self.current].encrypt(nonce, value, place.encode())
        return MARK + self.current + b":" + nonce + sealed

    def open(self, place: str, value: bytes) -> bytes:
        """Raises InternalError where the key is gone, or the value is not what was sealed."""
        from cryptography.exceptions import InvalidTag

        id_, _, rest = value.removeprefix(MARK).partition(b":")
        if id_ not in self._keys:
            self._refreshed()
        key = self._keys.get(id_)
        if key is None:
            raise broken(place, f"its key {id_.decode(errors='replace')} is not in {self._file}")
        try:
            opened: bytes = key.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise broken(place, "it was changed in the database") from None
        return opened

    def is_current(self, value: bytes) -> bool:
        return value.startswith(MARK + self.current + b":")

    def _refreshed(self) -> None:
        try:
            self.refresh()
        except OSError as error:
            raise InternalError(
                f"Internal error occurred: the keys of Secrets cannot be read: {error}"
            ) from error


def broken(place: str, why: str) -> InternalError:
    return InternalError(f"Internal error occurred: {place} cannot be opened: {why}")


def add_key(file: Path) -> str:
    """Puts a new key before those in *file*; returns its id. Raises OSError."""
    keys = _read(file) if file.exists() else []
    id_ = secrets.token_hex(ID_BYTES)
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{name} {value}\n" for name, value in [(id_, key), *keys]]
    write_atomically(file, "".join(lines).encode(), mode=0o600)
    return id_


def _read(file: Path) -> list[tuple[str, str]]:
    """One key in each line: its id and itself in base64. Raises OSError."""
    keys = []
    for line in file.read_text().splitlines():
        id_, _, key = line.partition(" ")
        if len(key) != len(base64.b64encode(bytes(KEY_BYTES))):
            raise OSError(f"{file} holds a line that is no key")
        keys.append((id_, key))
    if not keys:
        raise OSError(f"{file} holds no key")
    return keys
