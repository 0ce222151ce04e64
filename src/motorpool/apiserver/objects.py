"""Between the rows of the store and objects: encodes, decodes, and remembers what it decoded.

A row's value is the object as JSON, then, on a second line, its ``managedFields``. Those are as
large as the object itself, and few look at them: clients over HTTP, and writes, which record who
owns what. So there are two forms of an object. The *bare* one lacks them; it is decoded once per
revision and then shared by everyone who reads that revision. The *full* one is a bare one, shared
below its metadata, with them; where it is only shown, they stay the bytes that they are. The
resourceVersion is the row's revision and is in no value. Values of Secrets are sealed: their rows
are opened here, once for each look.
"""

from collections import OrderedDict
from typing import Any

import msgspec

from motorpool.api.meta import Object
from motorpool.apiserver.sealing import Sealer, broken, is_sealed
from motorpool.store import Row

REMEMBERED_OBJECTS_MAX = 8192
REMEMBERED_BYTES_MAX = 2 << 20  # encoded; decoded they take some ten times that

_OWNERSHIP = "managedFields"
_APART = (_OWNERSHIP, "resourceVersion")

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def encode(obj: Object) -> bytes:
    return _encoder.encode(obj)


def fresh(obj: Object) -> Object:
    """A deep copy, in JSON's own types only. Raises TypeError for what is no JSON."""
    copied: Object = _decoder.decode(_encoder.encode(obj))
    return copied


def value_of(obj: Object) -> bytes:
    """The value of the row for *obj*."""
    metadata = obj["metadata"]
    kept = {name: value for name, value in metadata.items() if name not in _APART}
    value = _encoder.encode({**obj, "metadata": kept})
    owned = metadata.get(_OWNERSHIP)
    return value + b"\n" + _encoder.encode(owned) if owned else value


def bare(obj: Object) -> Object:
    metadata = obj["metadata"]
    if _OWNERSHIP not in metadata:
        return obj
    kept = {name: value for name, value in metadata.items() if name != _OWNERSHIP}
    return {**obj, "metadata": kept}


def _with_ownership(obj: Object, owned: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], _OWNERSHIP: owned}}


class ObjectMemory:
    """Bare objects by revision; the least recently used are forgotten."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._objects: OrderedDict[int, tuple[Object, int]] = OrderedDict()
        self._bytes = 0

    def of(self, row: Row) -> Object:
        """The shared bare object of *row*."""
        found = self.recall(row.revision)
        if found is None:
            value = self._value(row).partition(b"\n")[0]
            found = _decoder.decode(value)
            self._remember(row.revision, found, len(value))
        return found

    def full(self, row: Row) -> Object:
        """The object of *row* with its ownership, to make another one of it."""
        owned = self._value(row).partition(b"\n")[2]
        return _with_ownership(self.of(row), _decoder.decode(owned)) if owned else self.of(row)

    def shown(self, row: Row) -> Object:
        """The object of *row* with its ownership, to be encoded as JSON and for nothing else."""
        owned = self._value(row).partition(b"\n")[2]
        return _with_ownership(self.of(row), msgspec.Raw(owned)) if owned else self.of(row)

    def _value(self, row: Row) -> bytes:
        if not is_sealed(row.value):
            return row.value
        if self._sealer is None:
            raise broken(row.key, "no key was given")
        return self._sealer.open(row.key, row.value)

    def recall(self, revision: int) -> Object | None:
        found = self._objects.get(revision)
        if found is None:
            return None
        self._objects.move_to_end(revision)
        return found[0]

    def keep(self, row: Row, obj: Object) -> Object:
        """Remembers *obj*, which *row* was made of; returns it as it now is, in full."""
        full = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(row.revision)}}
        self._remember(row.revision, bare(full), len(row.value.partition(b"\n")[0]))
        return full

    def _remember(self, revision: int, obj: Object, size: int) -> None:
        obj["metadata"]["resourceVersion"] = str(revision)
        self._objects[revision] = (obj, size)
        self._bytes += size
        while len(self._objects) > REMEMBERED_OBJECTS_MAX or self._bytes > REMEMBERED_BYTES_MAX:
            _, (_, forgotten) = self._objects.popitem(last=False)
            self._bytes -= forgotten
